//! Messages of `check`: each names the mistake and the way out, and one mistake is one problem.

use crate::check::problems;

const GET: &str = "request = \"GET https://api.example.com/x\"\nselect = \"{id}\"\n";

fn tool(more: &str) -> String {
    format!("[tools.items]\ndescription = \"d\"\n{GET}{more}\n")
}

const ACME: &str = "[providers.acme]\nbase_url = \"https://api.example.com\"\n";

/// The only problem of a file.
fn only(source: &str) -> (String, String) {
    let mut found = problems(source);
    assert_eq!(found.len(), 1, "{source}\n{found:#?}");
    let (_, _, message, hint) = found.remove(0);
    (message, hint)
}

#[test]
fn a_list_of_tables_wants_double_brackets() {
    let found = problems("[server.auth.api_keys]\nname = \"app\"\nkey = \"env:APP_KEY\"\n");
    let is_told = |hint: &str| hint.starts_with("write its name in double brackets, `[[…]]`");
    assert!(found.iter().any(|(_, _, _, hint)| is_told(hint)), "{found:#?}");
}

#[test]
fn a_mistake_is_one_problem_in_the_words_of_its_key() {
    let oauth = "[providers.acme.oauth]\nauthorize_url = \"https://a.example/a\"\ntoken_url = \"https://a.example/t\"\n";
    let client = "client_id = \"x\"\n";
    let uses = "[tools.items]\ndescription = \"d\"\nprovider = \"acme\"\nrequest = \"GET /x\"\nselect = \"{id}\"\n";
    for (source, message, hint) in [
        // Words that are not among the choices.
        (tool("params.a = { type = \"int\", description = \"A\" }"), "`int` is not a type", "did you mean `integer`?"),
        (tool("params.a = { type = \"float\", description = \"A\" }"), "`float` is not a type", "did you mean `number`?"),
        (tool("params.a = { type = \"list\", description = \"A\" }"), "`list` is not a type", "did you mean `array`?"),
        (tool("params.a = { type = \"array\", items = \"str\", description = \"A\" }"), "`str` is not a type of items", "did you mean `string`?"),
        (tool("effect = \"delete\""), "`delete` is not an effect", "did you mean `destroy`?"),
        // Quotes too many or too few.
        (format!("[server]\nport = \"28971\"\n{}", tool("")), "`port` is a whole number, not a text", "remove the quotes: `port = 28971`"),
        (tool("timeout = \"5\""), "`timeout` is a whole number, not a text", "remove the quotes: `timeout = 5`"),
        (tool("params.a = { max = \"5\", type = \"integer\", description = \"A\" }"), "`max` is a number, not a text", "remove the quotes: `max = 5`"),
        (tool("disabled = \"false\""), "`disabled` is `true` or `false`, not a text", "remove the quotes: `disabled = false`"),
        (tool("title = 5"), "`title` is a text, not a whole number", "put it in quotes: `title = \"…\"`"),
        (tool("params.a = { enum = \"x\", description = \"A\" }"), "`enum` is a list, not a text", "put it in brackets: `enum = [\"…\"]`"),
        // A table's name without its last letter.
        (format!("[provider.acme]\nbase_url = \"https://api.example.com\"\n{}", tool("")), "unknown key `provider`", "write `providers`, as in [providers.acme]"),
        ("[tool.items]\ndescription = \"d\"\n".into(), "unknown key `tool`", "write `tools`, as in [tools.acme_items]"),
        // Keys of a table nearby.
        (format!("{ACME}{client}issuer = \"https://a.example\"\n{uses}"), "unknown key `issuer`", "`issuer` belongs in [providers.acme.oauth]"),
        (format!("{ACME}{client}token_url = \"https://a.example\"\n{uses}"), "unknown key `token_url`", "`token_url` belongs in [providers.acme.oauth]"),
        (format!("{ACME}{client}{oauth}hosts = [\"a.example\"]\n{uses}"), "unknown key `hosts`", "`hosts` belongs in [providers.acme]"),
        (format!("{ACME}{client}{oauth}scope_words = {{}}\n{uses}"), "unknown key `scope_words`", "`scope_words` belongs in [providers.acme]"),
        (format!("[server]\nissuer = \"https://a.example\"\n{}", tool("")), "unknown key `issuer`", "`issuer` belongs in [server.auth]"),
        (format!("[server]\nretention = \"refresh\"\n{}", tool("")), "unknown key `retention`", "`retention` belongs in [store]"),
        (format!("port = 5\n{}", tool("")), "unknown key `port`", "`port` belongs in [server]"),
        (tool("optional = true"), "unknown key `optional`", "`optional` belongs in [tools.items.params.NAME]"),
        (tool("params.a = { description = \"A\", select = \".\" }"), "unknown key `select`", "`select` belongs in [tools.items]"),
        (tool("base_url = \"https://api.example.com\""), "unknown key `base_url`", "`base_url` belongs in [providers.NAME], whose NAME the tool gives in `provider`"),
        // Names with dots.
        (format!("[tools.acme.items]\ndescription = \"d\"\n{GET}"), "unknown key `items`", "a tool's name has no dot: write [tools.acme_items]"),
        (format!("[tools.acme.items.list]\ndescription = \"d\"\n{GET}"), "unknown key `items`", "a tool's name has no dot: write [tools.acme_items_list]"),
        (format!("[tools.\"acme.items\"]\ndescription = \"d\"\n{GET}"), "a tool's name has letters, digits, `_` and `-` only", "a tool's name has no dot: write [tools.acme_items]"),
        // Keys from other formats.
        (tool("params.a = { required = true, description = \"A\" }"), "unknown key `required`", "every parameter is required unless it says `optional = true`"),
        (tool("params.a = { required = false, description = \"A\" }"), "unknown key `required`", "every parameter is required unless it says `optional = true`"),
        ("[tools.items]\ndescription = \"d\"\nurl = \"https://api.example.com\"\n".into(), "unknown key `url`", "method and address are one text: `request = \"GET https://…\"`"),
        (tool("parameters = {}"), "unknown key `parameters`", "write `params.NAME = \"What it is\"`"),
        // No problem that follows from another.
        ("[tools.items]\ndescription = \"d\"\nprovder = \"github\"\nscopes = [\"x\"]\nrequest = \"GET /x\"\n".into(), "unknown key `provder`", "did you mean `provider`?"),
        ("[tools.items]\ndescription = \"d\"\nparms.q = \"Q\"\nrequest = \"GET https://api.example.com/{q}\"\n".into(), "unknown key `parms`", "did you mean `params`?"),
        (tool("params.a = { typ = \"integer\", default = 5, min = 0.5, description = \"A\" }"), "unknown key `typ`", "did you mean `type`?"),
        (format!("[providers.acme]\nbase_ur = \"https://api.example.com\"\n{client}{oauth}{uses}"), "unknown key `base_ur`", "did you mean `base_url`?"),
        (format!("{ACME}{client}{}{uses}", oauth.replace("token_url", "token_ulr")), "unknown key `token_ulr`", "did you mean `token_url`?"),
        // jq.
        (tool("").replace("{id}", "$.items[*].name"), "this is JSONPath, and a jq filter is wanted", "in jq: `.items[].name`"),
        (tool("").replace("{id}", "$['items'][*]"), "this is JSONPath, and a jq filter is wanted", "in jq: `.[\"items\"][]`"),
        (tool("").replace("{id}", "$..name"), "this is JSONPath, and a jq filter is wanted", "in jq: `[.. | .name? | values]`"),
        (tool("").replace("{id}", "items[*].name"), "this is JSONPath, and a jq filter is wanted", "in jq: `.items[].name`"),
        (tool("").replace("{id}", "$.items[?(@.price < 10)]"), "this is JSONPath, and a jq filter is wanted", "in jq a path is `.items[].name`, and a condition `select(.price < 10)`"),
        (tool("").replace("{id}", "payload.items[].name"), "this jq filter does not compile: the filter `payload` does not exist", "a path begins with a dot: `.payload.items[].name`"),
        (tool("").replace("{id}", "import 'x' as $x; $x").replace('\'', "\\\""), "this jq filter does not compile: modules cannot be imported: `import` is not supported", "try it with `jq` on an answer of the API"),
    ] {
        let found = only(&source);
        assert_eq!(found.0, message, "{source}");
        assert!(found.1.starts_with(hint), "{source}\n{}", found.1);
    }
}

#[test]
fn an_example_is_checked_like_the_tool() {
    let with = |tests: &str| {
        tool(&format!(
            "params.query = \"Q\"\nparams.limit = {{ default = 5, description = \"L\" }}\ntests = {tests}"
        ))
    };
    for (tests, message) in [
        (
            "[{ args = { query = \"x\" }, expect = \"length >\" }]",
            "this jq filter does not compile",
        ),
        ("[{ args = { query = \"x\" }, expect = \"lenght > 0\" }]", "`lenght` does not exist"),
        ("[{ args = { query = \"x\" }, expect = \"$.items[*]\" }]", "this is JSONPath"),
        ("[{ args = { query = \"x\" } }]", "`expect` is missing"),
        (
            "[{ args = { qery = \"x\", query = \"x\" }, expect = \"true\" }]",
            "`qery` is not a parameter of this tool",
        ),
        ("[{ expect = \"true\" }]", "this example lacks `query`"),
        ("[{ args = [1], expect = \"true\" }]", "`args` is a table of arguments"),
        ("[{ args = { query = \"x\" }, expects = \"true\" }]", "unknown key `expects`"),
        ("\"nonsense\"", "`tests` is a list, not a text"),
        ("[1]", "a table is wanted here, not a whole number"),
    ] {
        let (found, _) = only(&with(tests));
        assert!(found.contains(message), "{tests}: {found}");
    }
    for good in ["[]", "[{ args = { query = \"x\" }, expect = \"length > 0\" }]"] {
        assert_eq!(problems(&with(good)), []);
    }
}

#[test]
fn limits_of_hosts_and_models_are_warned_of() {
    let long = |count: usize| tool("").replace("\"d\"", &format!("\"{}\"", "ü".repeat(count)));
    assert_eq!(problems(&long(1024)), []);
    let instructions = format!("[server]\ninstructions = \"{}\"\n", "x".repeat(2049));
    let many = |count: usize| {
        let one = |n: usize| tool("").replace("tools.items", &format!("tools.items_{n}"));
        (0..count).map(one).collect::<String>()
    };
    let choices: Vec<String> = (0..251).map(|n| format!("\"c{n}\"")).collect();
    for (source, message) in [
        (long(1025), "the description has 1025 characters; OpenAI refuses all tools"),
        (instructions + &tool(""), "the instructions have 2049 characters"),
        (many(41), "41 tools are more than models choose well from"),
        (many(129), "129 tools: OpenAI refuses a request with more than 128"),
        (tool("").replace("tools.items", "tools.1st_items"), "begins with a digit"),
        (
            tool("").replace("tools.items", &format!("tools.{}", "x".repeat(41))),
            "hosts show this tool as",
        ),
        (
            tool(&format!("params.a = {{ description = \"A\", enum = [{}] }}", choices.join(", "))),
            "251 choices",
        ),
        (
            tool("params.a = { description = \"A\", enum = [\"\", \"a\"] }"),
            "an empty text is no choice",
        ),
        (tool("params.a = { optional = true }"), "`a` has no description"),
        (String::new(), "there are no tools in this file"),
        (tool("disabled = true"), "there are no tools in this file"),
    ] {
        let (found, hint) = only(&source);
        assert!(found.contains(message), "{found}");
        assert!(!hint.is_empty());
    }
}

#[test]
fn answers_that_fill_a_models_context_are_warned_of() {
    let with = |request: &str, more: &str| {
        format!(
            "[tools.items]\ndescription = \"d\"\nrequest = \"{request} https://api.example.com/x\"\n{more}\n"
        )
    };
    let whole = "the model gets the whole answer of `items`";
    let list = "nothing limits the list that `items` answers with";
    for (source, expected) in [
        (with("GET", ""), Some(whole)),
        (with("GET", "max_chars = 5000"), None),
        (with("GET", "select = \"{id}\""), None),
        (with("HEAD", ""), None),
        (with("POST", ""), None),
        (with("GET", "reply = \"Done.\""), None),
        (with("GET", "select = \"[.items[] | {id}]\""), Some(list)),
        (with("GET", "select = \".items[]\""), Some(list)),
        (with("GET", "select = \"map({id})\""), Some(list)),
        (with("POST", "effect = \"read\"\nselect = \".items[]\""), Some(list)),
        (
            with(
                "GET",
                "select = \".items[]\"\nparams.n = { as = \"per_page\", default = 5, description = \"N\" }",
            ),
            None,
        ),
        (
            with(
                "GET",
                "select = \".items[]\"\nparams.limit = { type = \"integer\", description = \"N\" }",
            ),
            None,
        ),
        (with("GET", "select = \".items[]\"\nquery.maxResults = 10"), None),
        (with("POST", "effect = \"read\"\nselect = \".items[]\"\nbody = { page_size = 5 }"), None),
        (with("GET", "select = \"[.items[:10][] | {id}]\""), None),
        (with("GET", "select = \"[limit(5; .items[])]\""), None),
    ] {
        let found = problems(&source);
        let messages: Vec<&str> = found.iter().map(|(_, _, message, _)| message.as_str()).collect();
        assert_eq!(messages, Vec::from_iter(expected), "{source}");
    }
}

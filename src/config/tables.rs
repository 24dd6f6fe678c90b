//! All tables of the language and where they stand.

use super::file::face::{ArgNamesTable, IdsTable, ReturnsTable};
use super::file::server::{AuthTable, CallerKeyTable, ServerTable, StoreTable};
use super::file::webhook::WebhookTable;
use super::file::{
    ApiKeyTable, AskTable, AssertionTable, BasicTable, FailureTable, File, GuideTable,
    IdentityTable, OAuthTable, PaginateTable, ParamTable, ProviderTable, RevokeRequestTable,
    TestTable, ToolTable,
};
use super::unknown_key::LanguageTable;

pub(super) static TABLES: [LanguageTable; 23] = [
    LanguageTable { path: &[], keys: &File::KEYS },
    LanguageTable { path: &["server"], keys: &ServerTable::KEYS },
    LanguageTable { path: &["server", "auth"], keys: &AuthTable::KEYS },
    LanguageTable { path: &["server", "auth", "api_keys"], keys: &CallerKeyTable::KEYS },
    LanguageTable { path: &["store"], keys: &StoreTable::KEYS },
    LanguageTable { path: &["providers", "*"], keys: &ProviderTable::KEYS },
    LanguageTable { path: &["providers", "*", "oauth"], keys: &OAuthTable::KEYS },
    LanguageTable { path: &["providers", "*", "api_key"], keys: &ApiKeyTable::KEYS },
    LanguageTable { path: &["providers", "*", "bearer"], keys: &AskTable::KEYS },
    LanguageTable { path: &["providers", "*", "basic"], keys: &BasicTable::KEYS },
    LanguageTable { path: &["providers", "*", "failure"], keys: &FailureTable::KEYS },
    LanguageTable { path: &["providers", "*", "guide"], keys: &GuideTable::KEYS },
    LanguageTable { path: &["providers", "*", "guide", "paginate"], keys: &PaginateTable::KEYS },
    LanguageTable { path: &["providers", "*", "oauth", "assertion"], keys: &AssertionTable::KEYS },
    LanguageTable { path: &["providers", "*", "oauth", "identity"], keys: &IdentityTable::KEYS },
    LanguageTable {
        path: &["providers", "*", "oauth", "revoke_request"],
        keys: &RevokeRequestTable::KEYS,
    },
    LanguageTable { path: &["tools", "*"], keys: &ToolTable::KEYS },
    LanguageTable { path: &["tools", "*", "params", "*"], keys: &ParamTable::KEYS },
    LanguageTable { path: &["tools", "*", "tests"], keys: &TestTable::KEYS },
    LanguageTable { path: &["tools", "*", "ids"], keys: &IdsTable::KEYS },
    LanguageTable { path: &["tools", "*", "args"], keys: &ArgNamesTable::KEYS },
    LanguageTable { path: &["tools", "*", "returns"], keys: &ReturnsTable::KEYS },
    LanguageTable { path: &["webhooks", "*"], keys: &WebhookTable::KEYS },
];

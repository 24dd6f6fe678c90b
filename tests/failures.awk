# Prints why each failed test failed, from the output of `cargo test`: its name and its panic messages, cut to a few
# lines in the middle, so that all of it stays within the last lines of the output. See `tests/run`.

# All lines that are printed, and the fewest and the most of one test.
BEGIN { ALL = 48; FEWEST = 6; MOST = 40; WIDTH = 400 }

/^---- .* stdout ----$/ { section = $2; in_message = 0; next }
/^failures:$/ || /^test result:/ { section = ""; in_message = 0; is_list = /^failures:$/; next }
/^running [0-9]+ tests?$/ { section = ""; in_message = 0 }

# Captured, a message belongs to the section that it stands in; otherwise to the test that its thread is named after.
/^thread '.*' .*panicked at / {
    of = section
    if (of == "") { split($0, parts, "'"); of = parts[2] }
    in_message = 1
}
/^note: (run with|Some details)/ || /^stack backtrace:$/ { in_message = 0 }
# Of a test that failed without a panic.
section != "" && NF { last[section] = $0 }
in_message && NF { lines[of, ++count[of]] = length($0) > WIDTH ? substr($0, 1, WIDTH) "…" : $0 }

# The list of names comes last, after the sections.
is_list && /^    [^ ]+$/ && !($1 in is_failed) { is_failed[$1] = 1; failed[++failures] = $1 }

END {
    if (!failures) exit
    limit = int(ALL / failures)
    if (limit < FEWEST) limit = FEWEST
    if (limit > MOST) limit = MOST
    print "\n== failed: " failures
    for (i = 1; i <= failures; i++) {
        name = failed[i]
        print "-- " name
        if (!count[name]) print last[name]
        head = count[name] <= limit ? count[name] : int(limit / 2)
        for (n = 1; n <= head; n++) print lines[name, n]
        if (head == count[name]) continue
        print "… " count[name] - limit " lines …"
        for (n = count[name] - (limit - head) + 1; n <= count[name]; n++) print lines[name, n]
    }
}

use super::{Flaws, Format, Node, Path, Place, Source, Value, drop_repeated, parse};
use crate::error::Code;

const ALL: [Format; 3] = [Format::Json, Format::Yaml, Format::Toml];

fn read(text: &str, format: Format) -> Result<(Node, Flaws), Flaws> {
    let source = Source::new(text);
    let mut root = parse(&source, format)?;
    let flaws = drop_repeated(&mut root, &source);
    Ok((root, flaws))
}

fn values_of(text: &str, format: Format) -> Node {
    let start = || text.chars().take(80).collect::<String>();
    let (root, flaws) = read(text, format).unwrap_or_else(|of| panic!("{}: {of:?}", start()));
    assert!(flaws.is_empty(), "{flaws:?}");
    root
}

fn code(text: &str, format: Format) -> Code {
    read(text, format).unwrap_err().sorted()[0].code
}

/// A path, the line and column of the key if there is one, and those of the value.
type Placed = (String, Option<(usize, usize)>, (usize, usize));

/// Each value by its path, with the line and column of its key and its own.
fn places(text: &str, format: Format) -> Vec<Placed> {
    fn at(source: &Source, place: &Place) -> (usize, usize) {
        let Place::File { start, .. } = place else { panic!("{place:?}") };
        let position = source.position(*start as usize);
        (position.line, position.column)
    }
    fn walk(source: &Source, node: &Node, path: &Path<'_>, found: &mut Vec<Placed>) {
        match &node.value {
            Value::List(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    found.push((path.index(index).to_string(), None, at(source, &node.place)));
                    walk(source, node, &path.index(index), found);
                }
            }
            Value::Map(members) => {
                for member in members {
                    let path = path.key(&member.key);
                    let key = at(source, &member.key_place);
                    found.push((path.to_string(), Some(key), at(source, &member.node.place)));
                    walk(source, &member.node, &path, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&Source::new(text), &values_of(text, format), &Path::Root, &mut found);
    found
}

#[test]
fn every_value_has_its_place_in_every_format() {
    let json = "\u{feff}{\"a\": 1,\r\n  \"ü\\\"\": [true, \"x\"],\r\n\t\"m\": {\"k\":null}}";
    let place = |path: &str, key, own| (path.to_owned(), key, own);
    assert_eq!(
        places(json, Format::Json),
        [
            place("a", Some((1, 2)), (1, 7)),
            place(r#"["ü\""]"#, Some((2, 3)), (2, 10)),
            place(r#"["ü\""][0]"#, None, (2, 11)),
            place(r#"["ü\""][1]"#, None, (2, 17)),
            place("m", Some((3, 2)), (3, 7)),
            place("m.k", Some((3, 8)), (3, 12)),
        ]
    );
    let yaml = "a: 1\r\nü: [true, 'x']\r\nm:\r\n  k: ~\r\n";
    assert_eq!(
        places(yaml, Format::Yaml),
        [
            place("a", Some((1, 1)), (1, 4)),
            place("ü", Some((2, 1)), (2, 4)),
            place("ü[0]", None, (2, 5)),
            place("ü[1]", None, (2, 11)),
            place("m", Some((3, 1)), (4, 3)),
            place("m.k", Some((4, 3)), (4, 6)),
        ]
    );
    let toml = "a = 1\r\n\"ü\" = [true, 'x']\r\n[m]\r\nk = 1\r\n";
    assert_eq!(
        places(toml, Format::Toml),
        [
            place("a", Some((1, 1)), (1, 5)),
            place("ü", Some((2, 1)), (2, 7)),
            place("ü[0]", None, (2, 8)),
            place("ü[1]", None, (2, 14)),
            place("m", Some((3, 2)), (3, 1)),
            place("m.k", Some((4, 1)), (4, 5)),
        ]
    );
}

#[test]
fn the_same_values_come_from_every_format() {
    let json =
        r#"{"a": -1, "b": 2.5, "c": "1m30s", "d": [1, false], "e": {"f": "\ud83d\ude00\u007f\t"}}"#;
    let yaml = "a: -1\nb: 2.5\nc: 1m30s\nd:\n- 1\n- false\ne: {f: \"\\U0001F600\\x7f\\t\"}\n";
    let toml =
        "a = -1\nb = 2.5\nc = \"1m30s\"\nd = [1, false]\n[e]\nf = \"\\U0001F600\\u007f\\t\"\n";
    fn plain(node: &Node) -> Node {
        let value = match node.value.clone() {
            Value::List(nodes) => Value::List(nodes.iter().map(plain).collect()),
            Value::Map(members) => Value::Map(
                members
                    .into_iter()
                    .map(|mut member| {
                        member.key_place = Place::Nowhere;
                        member.node = plain(&member.node);
                        member
                    })
                    .collect(),
            ),
            value => value,
        };
        Node { place: Place::Nowhere, value }
    }
    let expected = plain(&values_of(json, Format::Json));
    assert_eq!(plain(&values_of(yaml, Format::Yaml)), expected);
    assert_eq!(plain(&values_of(toml, Format::Toml)), expected);
    // A raw U+007F is JSON, too.
    assert_eq!(values_of("\"\u{7f}\"", Format::Json).text(), Some("\u{7f}"));
}

#[test]
fn words_of_yaml_1_1_are_texts() {
    let root = values_of("a: yes\nb: 0x10\nc: '1'\nd: true\n1: x\n", Format::Yaml);
    let kinds: Vec<_> = root.members().iter().map(|of| (&*of.key, of.node.kind())).collect();
    assert_eq!(
        kinds,
        [("a", "a text"), ("b", "a number"), ("c", "a text"), ("d", "a bool"), ("1", "a text")]
    );
}

#[test]
fn a_key_that_is_given_twice_is_a_mistake_at_its_second_place() {
    for (text, format, start) in [
        (r#"{"a": {"b": 1, "c": 2, "b": 3}}"#, Format::Json, 23),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", Format::Yaml, 19),
    ] {
        let (root, flaws) = read(text, format).unwrap();
        let flaws = flaws.sorted();
        assert_eq!(flaws.len(), 1);
        assert_eq!((flaws[0].path.as_str(), flaws[0].code), ("a.b", Code::CONFIG_1703));
        assert!(
            matches!(flaws[0].place, Place::File { start: at, .. } if at == start),
            "{flaws:?}"
        );
        assert_eq!(root.members()[0].node.members()[0].node.value, Value::Unsigned(1));
    }
    let flaws = read("a = 1\nb = 2\na = 3\nb = 4\n", Format::Toml).unwrap_err().sorted();
    assert_eq!(flaws.len(), 2, "{flaws:?}");
    assert!(flaws.iter().all(|flaw| flaw.code == Code::CONFIG_1702));
}

#[test]
fn what_is_no_such_format_is_named_with_its_place() {
    for text in
        ["{", "{\"a\": 1,}", "{a: x}", "[1 2]", "{} x", "\"\\ud800\"", "1e999", "nul", "{\"a\""]
    {
        assert_eq!(code(text, Format::Json), Code::PLUGIN_1011, "{text}");
    }
    for text in ["a: [1", "a: b: c", "- x\ny: 1", "a: *none", "'x", "--- 1\n--- 2\n"] {
        assert_eq!(code(text, Format::Yaml), Code::CONFIG_1702, "{text}");
    }
    for text in ["a", "a = ", "a = 1 b = 2", "[a", "a = 99999999999999999999"] {
        assert_eq!(code(text, Format::Toml), Code::CONFIG_1702, "{text}");
    }
    let flaws = read("{\"a\": 1,\n \"b\" 2}", Format::Json).unwrap_err().sorted();
    let Place::File { start, .. } = flaws[0].place else { panic!("{flaws:?}") };
    let source = Source::new("{\"a\": 1,\n \"b\" 2}");
    assert_eq!((source.position(start as usize).line, flaws[0].is_syntax), (2, true));
    for format in ALL {
        assert_eq!(code(" \n\t\n", format), Code::CONFIG_1706);
    }
}

#[test]
fn hostile_files_end_at_a_bound() {
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    for depth in [70, 10_000, 100_000] {
        assert_eq!(code(&deep("[", "]", depth), Format::Json), Code::CONFIG_1706);
        assert_eq!(code(&deep("{\"a\":", "", depth), Format::Json), Code::PLUGIN_1011);
    }
    for depth in [70, 10_000] {
        for open in ["[", "{", "- "] {
            let flaws = read(&format!("a: 1\nb: {}", open.repeat(depth)), Format::Yaml);
            let flaws = flaws.unwrap_err().sorted();
            assert!(matches!(flaws[0].place, Place::File { start: 5.., .. }), "{open}: {flaws:?}");
        }
        for text in [
            format!("a = {}", deep("[", "]", depth)),
            format!("a = {}", "[".repeat(depth)),
            format!("a = {}", "{a = ".repeat(depth)),
            format!("{}a = 1", "a.".repeat(depth)),
            format!("[{}a]", "a.".repeat(depth)),
        ] {
            assert_eq!(code(&text, Format::Toml), Code::CONFIG_1706, "{}", &text[..20]);
        }
    }
    let many: Vec<_> = (0..200_001).map(|key| format!("\"k{key}\": 0")).collect();
    assert_eq!(code(&format!("{{{}}}", many.join(",")), Format::Json), Code::CONFIG_1706);
    assert_eq!(code(&many.join("\n"), Format::Yaml), Code::CONFIG_1706);
    assert_eq!(code(&many.join("\n").replace(':', " ="), Format::Toml), Code::CONFIG_1706);
    // Aliases that grow: 10^9 texts.
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip("abcdefgh".chars()) {
        bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(","));
    }
    assert_eq!(code(&bomb, Format::Yaml), Code::CONFIG_1706);
}

#[test]
fn a_file_that_is_cut_anywhere_is_read_or_refused() {
    for (text, format) in [
        ("{\"a\": [1, \"ü\"], \"b\": {\"c\": null}}", Format::Json),
        ("a: [1, 'ü']\nb:\n  c: |\n    x\n    y\n  d: &x 1\ne: *x\n", Format::Yaml),
        ("a = [1, 'ü']\n[b]\nc = '''\nx\n'''\n[[d]]\ne.f = 1979-05-27T07:32:00Z\n", Format::Toml),
    ] {
        values_of(text, format);
        for cut in (0..text.len()).filter(|&at| text.is_char_boundary(at)) {
            let _ = read(&text[..cut], format);
            let _ = read(&text[cut..], format);
        }
    }
}

#[test]
fn as_many_values_and_as_deep_as_may_be_are_read() {
    let list = |values: usize| format!("[{}]", vec!["0"; values].join(","));
    // The root is one, but in TOML.
    for (format, start, values) in
        [(Format::Json, "", 199_999), (Format::Yaml, "", 199_999), (Format::Toml, "a = ", 199_999)]
    {
        values_of(&format!("{start}{}", list(values)), format);
        let text = format!("{start}{}", list(values + 1));
        assert_eq!(code(&text, format), Code::CONFIG_1706, "{format}");
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = |depth: usize| open.repeat(depth) + "\"[[{{\"" + &close.repeat(depth);
        values_of(&deep(32), Format::Json);
        assert_eq!(code(&deep(33), Format::Json), Code::CONFIG_1706);
    }
    // Neither a bracket nor a comma that is in a text or in a comment counts, nor does a table twice.
    let tables = "[[x]]\nk = 1\n".repeat(99_997);
    let signs = "[,=.".repeat(100);
    let text = format!(
        "a = \"{signs}\"\n# {signs}\nb = [ '{signs}', # {signs}\n]\nc = \"\"\"{signs}\n\"\"\"\n{tables}"
    );
    assert_eq!(values_of(&text, Format::Toml).members().len(), 4);
}

#[test]
fn what_no_value_is_ends_at_a_bound_too() {
    let lines = "\n".repeat(1_600_000);
    assert_eq!(code(&format!("a = 1{lines}"), Format::Toml), Code::CONFIG_1706);
    // Of some mistakes all are told, of many the first.
    for (mistakes, told) in [(10_000, 10_000), (100_000, 1)] {
        let flaws = read(&"}\n".repeat(mistakes), Format::Toml).unwrap_err().sorted();
        assert_eq!(flaws.len(), told);
        assert!(flaws.iter().all(|flaw| flaw.code == Code::CONFIG_1702));
    }
}

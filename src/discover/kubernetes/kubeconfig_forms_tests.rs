//! How a kubeconfig may be written.

use super::{
    tests::{context, folder, of},
    *,
};

#[test]
fn a_file_may_be_written_in_any_way_that_kubectl_reads() {
    let plain = r#"
current-context: 42
contexts: [{name: 42, context: {cluster: 1.5, user: true, namespace: 2026}}]
clusters: [{name: 1.5, cluster: {server: 'https://a', disable-compression: true}}]
users: [{name: true, user: {token: 123456}}]
preferences: {colors: true}
"#;
    let json = "{\n\t\"current-context\": \"x\",\n\t\"contexts\": [\n\t\t{\"name\": \"x\", \"context\": \
                {\"cluster\": \"c\", \"namespace\": \"2026\", \"user\": \"u\"}}\n\t],\n\t\"clusters\": [{\"name\": \"c\", \
                \"cluster\": {\"server\": \"https:\\/\\/a\"}}],\n\t\"users\": [{\"name\": \"u\", \"user\": {\"token\": \"123456\"}}]\n}\n";
    let shared = plain.replace("server: 'https://a'", "<<: &all {server: 'https://a'}");
    for (what, text) in [
        ("numbers", plain.to_owned()),
        ("CRLF", plain.replace('\n', "\r\n")),
        ("a mark of the order of bytes", format!("\u{feff}{plain}")),
        ("a start and an end", format!("# Made by a tool\n---{plain}...\n")),
        ("JSON", json.to_owned()),
        ("JSON in one line", json.replace(['\n', '\t'], "")),
        ("a merge", shared),
    ] {
        let found = of("ways", &text, &KubernetesConfig::default());
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(
            (&*found.address, found.namespace.as_deref()),
            ("https://a", Some("2026")),
            "{what}"
        );
        assert_eq!(found.token, TokenSource::Text("123456".into()), "{what}");
    }
}

const SMALL: &str = "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n\
                     clusters: [{name: c, cluster: {server: 'https://a'}}]\nusers: [{name: u, user: {token: \u{e4}\u{1f980}}}]\n";

// kube-rs/kube#1654, kubernetes-sigs/headlamp#2095
#[test]
fn a_file_of_windows_may_be_utf_16() {
    let path = folder("utf-16").join("config");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let found = read(std::slice::from_ref(&path), &KubernetesConfig::default());
        found.map(|found| found.token).map_err(|error| error.to_string())
    };
    let units = || "\u{feff}".encode_utf16().chain(SMALL.encode_utf16());
    let [little, big] = [u16::to_le_bytes, u16::to_be_bytes]
        .map(|bytes| units().flat_map(bytes).collect::<Vec<u8>>());
    // The first half of a letter of two units.
    for (bytes, half) in [(&little, [0x00_u8, 0xd8]), (&big, [0xd8, 0x00])] {
        assert_eq!(read(bytes), Ok(TokenSource::Text("\u{e4}\u{1f980}".into())));
        for wrong in [
            bytes[..bytes.len() - 1].to_vec(),
            [&bytes[..], &half].concat(),
            [&bytes[..], &half, b"\n"].concat(),
        ] {
            assert!(read(&wrong).unwrap_err().contains("no UTF-16"));
        }
    }
    assert!(read(&little[2..]).is_err(), "without a mark it is nothing");
    assert!(read(b"users: \xff").unwrap_err().contains("no UTF-8"));
}

// kube-rs/kube#440
#[test]
fn documents_of_a_file_are_as_files_of_a_list() {
    let address = |text: &str| {
        let found = of("documents", text, &KubernetesConfig::default());
        found.map(|found| found.address)
    };
    let other = SMALL.replace("https://a", "https://b").replace("name: a", "name: b");
    for text in [
        format!("---\n{SMALL}---\n"),
        format!("---\n---\n{SMALL}...\n---\n# Nothing.\n"),
        format!("{SMALL}---\n{other}"),
        format!("{}---\n{other}---\n{SMALL}", SMALL.replace("clusters", "others")),
    ] {
        let expected = if text.contains("others") { "https://b" } else { "https://a" };
        assert_eq!(address(&text).as_deref(), Ok(expected), "{text}");
    }
    let error = address(&format!("{SMALL}---\nusers: [{{name: x}}, {{name: x}}]")).unwrap_err();
    assert!(error.contains("two users"), "{error}");
}

// kube-rs/kube#1076
#[test]
fn what_is_null_is_empty_and_what_is_not_used_is_no_mistake() {
    let used = "current-context: a\ncontexts:\n- {name: a, context: {cluster: c, user: u}}\n";
    let text = format!(
        "{used}- {{name: null, context: {{cluster: null, user: null}}}}\n- {{name: b}}\n\
         clusters:\n- null\n- {{name: x, cluster: {{server: ~}}}}\n\
         - {{name: c, cluster: {{server: 'https://a', extensions: [{{name: null, extension: null}}, null]}}}}\n\
         users:\n- {{name:, user:}}\n- {{name: u, user: {{as: b, as-groups: [c, null], exec: {{command: d,\n\
         args: [e, null], env: [{{name: f, value: null}}, {{name: null, value: g}}], apiVersion: null}}}}}}\n\
         - {{name: v, user: {{exec: {{command: null, args: null, env: null}}}}}}\nextensions: null\n"
    );
    let found = of("nulls", &text, &KubernetesConfig::default()).unwrap();
    assert_eq!((&*found.address, &*found.exec.unwrap().command), ("https://a", "d"));
    for (name, part) in [("b", "context `b`"), ("", "cluster ``")] {
        let error = of("nulls", &text, &context(name)).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

// nklmilojevic/sofka#635
#[test]
fn data_may_be_base64_of_base64_in_lines() {
    let binary = "certificate-authority-data: !!binary |\n      WVNCalpYSjBhV1pwWTJGMFpTd2dkR2hoZENCcGN5QnNi\n      \
                  MjVuWlhJZ2RHaGhiaUJ2Ym1VZ2JHbHVaU0J2WmlCaVlYTmxOalFnYUdGegpJ\n      \
                  SEp2YjIwZ1ptOXlMQ0IzYUdsamFDQnBjeUEzTmlCc1pYUjBaWEp6SUd4dmJtYz0K\n";
    let text = SMALL.replace(
        "[{name: c, cluster: {server: 'https://a'}}]",
        &format!("\n- name: c\n  cluster:\n    server: https://a\n    {binary}"),
    );
    let found = of("binary", &text, &KubernetesConfig::default()).unwrap();
    let ca = String::from_utf8(found.given.ca.unwrap()).unwrap();
    assert!(ca.starts_with("a certificate,") && ca.ends_with("76 letters long"), "{ca}");
}

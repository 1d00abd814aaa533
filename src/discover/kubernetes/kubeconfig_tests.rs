use super::*;

const FILE: &str = r#"
apiVersion: v1
kind: Config
current-context: dev
contexts:
- name: dev
  context: {cluster: here, user: me, namespace: shop}
- {name: other, context: {cluster: there, user: cert}}
- {name: cloud, context: {cluster: here, user: program}}
- {name: legacy, context: {cluster: here, user: legacy}}
- {name: relative, context: {cluster: told, user: relative}}
- {name: both, context: {cluster: told, user: both}}
- {name: loose, context: {cluster: blind, user: me}}
- {name: lost, context: {cluster: nowhere}}
- {name: userless, context: {cluster: here, user: missing}}
- {name: open, context: {cluster: here}}
- {name: proxied, context: {cluster: proxied}}
- {name: acting, context: {cluster: here, user: acting}}
clusters:
- name: here
  cluster: {server: "https://10.0.0.1:6443", certificate-authority: ca.pem}
- name: there
  cluster:
    server: https://[fd00::1]:6443
    certificate-authority-data: Y2E=
    tls-server-name: kubernetes
- {name: blind, cluster: {server: "https://10.0.0.1", insecure-skip-tls-verify: true}}
- name: told
  cluster:
    server: https://10.0.0.1
    extensions:
    - {name: other, extension: 7}
    - {name: client.authentication.k8s.io/exec, extension: {audience: [a, 1.5, true, null]}}
- {name: proxied, cluster: {server: "https://10.0.0.1", proxy-url: "http://proxy"}}
users:
- name: me
  user: {token: s3cret, tokenFile: token}
- name: cert
  user:
    client-certificate-data: |
      Y2Vy
      dA==
    client-key-data: a2V5
- name: program
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token]}
- {name: legacy, user: {auth-provider: {name: gcp}}}
- {name: relative, user: {exec: {command: bin/tell, env: [{name: KEY, value: s3cret}], args: [--key, s3cret]}}}
- {name: both, user: {token: s3cret, exec: {command: aws}}}
- name: acting
  user: {token: s3cret, as-groups: [admins]}
extensions: []
"#;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kubeconfig-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn of(name: &str, text: &str, config: &KubernetesConfig) -> Result<Found, String> {
    let path = folder(name).join("config");
    fs::write(&path, text).unwrap();
    read(&[path], config).map_err(|error| format!("{error:#}"))
}

fn context(name: &str) -> KubernetesConfig {
    KubernetesConfig::default().with_context(name)
}

#[test]
fn a_context_leads_to_its_cluster_and_its_user() {
    let found = of("a", FILE, &KubernetesConfig::default()).unwrap();
    assert_eq!(
        (&*found.address, found.namespace.as_deref()),
        ("https://10.0.0.1:6443", Some("shop"))
    );
    // Paths are those beside the file.
    let beside = folder("a");
    assert_eq!(found.ca_file, Some(beside.join("ca.pem")));
    assert_eq!(found.token, TokenSource::File(beside.join("token"), Some("s3cret".into())));

    let found = of("a", FILE, &context("other")).unwrap();
    let given = &found.given;
    assert_eq!(given.ca.as_deref(), Some(&b"ca"[..]));
    assert_eq!(given.cert.as_deref(), Some(&b"cert"[..]));
    assert_eq!(given.key.as_deref().map(|key| &**key), Some(&b"key"[..]));
    assert_eq!(found.server_name.as_deref(), Some("kubernetes"));
    assert_eq!((found.token, found.namespace), (TokenSource::None, None));
    assert!(of("a", FILE, &context("open")).is_ok());
}

#[test]
fn a_program_is_found_beside_the_file_or_by_its_name_unless_there_is_a_token() {
    let command = |name: &str| {
        let found = of("program", FILE, &context(name)).unwrap();
        assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
        found.exec.map(|exec| exec.command)
    };
    assert_eq!(command("cloud").as_deref(), Some("aws"));
    let beside = folder("program").join("bin/tell");
    assert_eq!(command("relative").as_deref(), beside.to_str());
    assert_eq!(command("both"), None);
    let found = of("program", FILE, &context("relative")).unwrap();
    let told = found.exec_config.unwrap();
    assert_eq!(told, serde_json::json!({"audience": ["a", 1.5, true, null]}));
}

#[test]
fn what_cannot_be_used_is_told_with_what_to_do() {
    for (name, parts) in [
        ("none", &["context `none`", "`dev`"][..]),
        ("lost", &["cluster `nowhere`", "`here`"][..]),
        ("userless", &["user `missing`"][..]),
        ("loose", &["insecure-skip-tls-verify", "allow_insecure_tls"][..]),
        ("legacy", &["`auth-provider`", "token_file", "kubectl proxy"][..]),
        ("proxied", &["proxy-url"][..]),
        ("acting", &["`as`", "`as-groups`"][..]),
    ] {
        let error = of("b", FILE, &context(name)).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{name}: {part}: {error}");
        }
        assert!(!error.contains("s3cret"), "{error}");
    }
    let found = of("b", FILE, &context("loose").with_allow_insecure_tls(true)).unwrap();
    assert!(found.given.trusts_all);
    // A token of the settings takes the place of the program.
    let found = of("b", FILE, &context("cloud").with_token_file("/token")).unwrap();
    assert!(found.exec.is_none());
    for (text, part) in [
        ("current-context: a\ncontexts: [", "line"),
        ("clusters: []", "current-context"),
        ("users: [{name: me, user: {token: [s3cret]}}]", "line 1"),
        ("contexts: [{name: a}, {name: b}, {name: a}]", "two contexts with the name `a`"),
        ("clusters: [{name: a}, {name: a}]", "two clusters"),
        ("users: [{name: me, user: {token: s3cret}}, {name: me}]", "two users"),
        ("", "current-context"),
    ] {
        let error = of("c", text, &KubernetesConfig::default()).unwrap_err();
        assert!(error.contains(part) && !error.contains("s3cret"), "{text}: {error}");
    }
    let wrong = FILE.replace("Y2E=", "no*base64");
    assert!(of("d", &wrong, &context("other")).unwrap_err().contains("base64"));
    let long = format!("# {}", "x".repeat(MAX_FILE as usize));
    assert!(of("e", &long, &KubernetesConfig::default()).unwrap_err().contains("1048576"));
    let none = read(&[folder("f").join("none")], &KubernetesConfig::default()).unwrap_err();
    assert!(none.to_string().contains("set `address`, or in a cluster `in_cluster`"), "{none}");
}

#[test]
fn of_several_files_the_first_that_says_something_counts() {
    let folder = folder("list");
    let (one, two) = (folder.join("one"), folder.join("two"));
    let first = "current-context: mine\ncontexts:\n- {name: mine, context: {cluster: here}}\n";
    fs::write(&one, format!("{first}clusters: [{{name: here, cluster: {{server: 'https://a'}}}}]"))
        .unwrap();
    fs::write(&two, FILE).unwrap();
    let list = [folder.join("missing"), one, two];
    let found = read(&list, &KubernetesConfig::default()).unwrap();
    assert_eq!(found.address, "https://a");
    // The cluster of the first, and a user of the second.
    let found = read(&list, &context("dev")).unwrap();
    assert_eq!((&*found.address, found.token != TokenSource::None), ("https://a", true));
}

#[test]
fn the_usual_files_are_those_of_kubectl() {
    let variable = |name: &str| match name {
        "HOME" => Some("/home/me".to_owned()),
        _ => None,
    };
    assert_eq!(usual(&variable).unwrap(), [PathBuf::from("/home/me/.kube/config")]);
    let list = std::env::join_paths(["/a", "", "/b"]).unwrap().into_string().unwrap();
    let variable = |name: &str| (name == "KUBECONFIG").then(|| list.clone());
    assert_eq!(usual(&variable).unwrap(), [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert!(usual(&|_| None).is_err());
}

#[test]
fn names_in_a_kubeconfig_are_told_in_part_and_in_one_line() {
    let long = "x".repeat(100_000);
    let text = format!(
        "current-context: a\ncontexts: [{{name: \"\\e[31m{long}\"}}, {{name: \"b\\nc\"}}]\n"
    );
    let error = of("names", &text, &KubernetesConfig::default()).unwrap_err();
    assert!(error.contains("context `a`") && error.len() < 1_000, "{error}");
    assert!(!error.contains(['\n', '\u{1b}']), "{error:?}");
}

// nklmilojevic/sofka#638
#[test]
fn an_empty_value_is_as_if_it_was_not_there() {
    let empty = r#"
current-context: ""
contexts: [{name: a, context: {cluster: c, user: u, namespace: ""}}, {name: b, context: {cluster: c, user: ""}}]
clusters:
- name: c
  cluster: {server: "https://a", certificate-authority: "", certificate-authority-data: "", tls-server-name: "",
            proxy-url: ""}
users:
- name: u
  user: {token: "", tokenFile: "", client-certificate: "", client-certificate-data: "", client-key: "",
         client-key-data: "", username: "", password: "", as: "", as-uid: "", as-groups: [], as-user-extra: {},
         exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}}
"#;
    for name in ["a", "b"] {
        let found = of("empty", empty, &context(name)).unwrap();
        assert_eq!((&found.token, &found.namespace), (&TokenSource::None, &None));
        assert_eq!((&found.ca_file, &found.cert_file, &found.key_file), (&None, &None, &None));
        assert!(found.given.ca.is_none() && found.given.cert.is_none());
        assert!(found.given.key.is_none() && found.server_name.is_none());
        assert_eq!((found.exec.is_some(), found.acts_as), (name == "a", ActsAs::default()));
    }
    let error = of("empty", empty, &KubernetesConfig::default()).unwrap_err();
    assert!(error.contains("current-context"), "{error}");
}

#[test]
fn a_certificate_proves_a_user_that_also_has_what_was_given_up() {
    let with = |user: &str| {
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://a'}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]"
        );
        of("old", &text, &KubernetesConfig::default())
    };
    for old in ["username: admin, password: s3cret", "auth-provider: {name: gcp}"] {
        assert!(with(old).is_err(), "{old}");
        for own in ["client-certificate: c.pem, client-key: k.pem", "client-certificate-data: Y2E="]
        {
            assert!(with(&format!("{old}, {own}")).unwrap().exec.is_none(), "{old}, {own}");
        }
    }
}

#[test]
fn files_are_beside_the_kubeconfig_wherever_this_process_goes() {
    let beside = folder("relative");
    fs::write(beside.join("config"), FILE).unwrap();
    // The same folder, as it is seen from here.
    let here = std::env::current_dir().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let path = up.join(beside.strip_prefix("/").unwrap()).join("config");
    let found = read(&[path], &KubernetesConfig::default()).unwrap();
    let ca = found.ca_file.unwrap();
    assert!(ca.is_absolute() && ca.ends_with("ca.pem"), "{}", ca.display());
}

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
    for bytes in [&little, &big] {
        assert_eq!(read(bytes), Ok(TokenSource::Text("\u{e4}\u{1f980}".into())));
        assert!(read(&bytes[..bytes.len() - 1]).unwrap_err().contains("no UTF-16"));
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

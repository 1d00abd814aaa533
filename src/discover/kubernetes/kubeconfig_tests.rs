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

pub(super) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kubeconfig-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub(super) fn of(name: &str, text: &str, config: &KubernetesConfig) -> Result<Found, String> {
    let path = folder(name).join("config");
    fs::write(&path, text).unwrap();
    read(&[path], config).map_err(|error| format!("{error:#}"))
}

pub(super) fn context(name: &str) -> KubernetesConfig {
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

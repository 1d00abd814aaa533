//! What a plugin may call itself.

use crate::{config::model::PluginConfig, error::Quoted};

/// What no name may hold, as in Go: a name stands in paths, in commands and in logs.
const FORBIDDEN: [&str; 12] = ["..", "/", "\\", "<", ">", "|", "&", ";", "`", "$", "*", "?"];

/// What is wrong with the name of a plugin.
pub(crate) fn mistake_in_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a plugin needs a `name`".to_owned());
    }
    let control = name.chars().find(|c| c.is_control()).map(String::from);
    let part = FORBIDDEN.iter().find(|&&part| name.contains(part)).map(|part| (*part).to_owned());
    let part = part.or(control)?;
    Some(format!("a name must not hold `{}`", part.escape_debug()))
}

/// What is wrong with the version of a plugin: that of a program is a semantic one, since the program is told it.
pub(crate) fn mistake_in_version(plugin: &PluginConfig) -> Option<String> {
    if plugin.transport != "exec" || plugin.version.is_empty() || is_semantic(&plugin.version) {
        return None;
    }
    let shown = Quoted(&plugin.version);
    Some(format!("the version of a program must be one such as `1.4.2`, not `{shown}`"))
}

/// As Semantic Versioning 2.0 has it: three numbers, maybe a pre-release, maybe metadata of the build.
fn is_semantic(version: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let is_number =
        |word: &str| !word.is_empty() && is_digits(word) && (word == "0" || !word.starts_with('0'));
    let (version, build) = version.split_once('+').map_or((version, None), |(v, b)| (v, Some(b)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(v, p)| (v, Some(p)));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| {
            pre.split('.').all(|word| is_word(word) && (!is_digits(word) || is_number(word)))
        })
        && build.is_none_or(|build| build.split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_program_is_a_semantic_one() {
        for fine in [
            "0.0.0",
            "1.4.2",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-0.3.7",
            "1.0.0-x-y.7",
            "1.0.0+20130313144700",
            "1.0.0-beta+exp.sha.5114f85",
            "1.0.0+21AF26D3---117B344092BD",
            "99999999999999999999999.999999999999999999.99999999999999999",
            "1.0.0-99999999999999999999999",
            "1.0.0--",
            "1.0.0-0A.is.legal",
        ] {
            assert!(is_semantic(fine), "{fine}");
        }
        for wrong in [
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.2.3",
            "1.02.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+",
            "1.2.3+a+b",
            " 1.2.3",
            "1.2.3 ",
            "1.2.x",
            "+1.2.3",
            "1.2.3-a_b",
            "-1.2.3",
        ] {
            assert!(!is_semantic(wrong), "{wrong}");
        }
        let mistake = |transport: &str, version: &str| {
            mistake_in_version(&PluginConfig::new("tax", transport).with_version(version))
        };
        assert!(mistake("exec", "1.2").is_some_and(|said| said.contains("not `1.2`")));
        for (transport, text) in [("exec", ""), ("exec", "1.2.0"), ("http", "1.2")] {
            assert_eq!(mistake(transport, text), None);
        }
    }

    #[test]
    fn a_name_is_in_no_path_command_or_log_anything_else() {
        for fine in ["tax", "a.b-c:d e#1", "\u{fc}ber", "\u{7a0e}"] {
            assert_eq!(mistake_in_name(fine), None, "{fine}");
        }
        for (wrong, part) in [
            ("", "`name`"),
            ("a..b", "`..`"),
            ("a/b", "`/`"),
            ("a\\b", "`\\\\`"),
            ("a$", "`$`"),
            ("a\nb", "`\\n`"),
            ("a\u{7}b", "`\\u{7}`"),
            ("a\u{85}", "`\\u{85}`"),
        ] {
            let said = mistake_in_name(wrong).unwrap();
            assert!(said.contains(part), "{wrong:?}: {said}");
        }
    }
}

//! YAML, of the values of JSON.

use std::fmt::Write;

use serde_json::Value;

/// A text that reads as `value`.
pub(super) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, 0, &mut text);
    text
}

/// Writes what follows a key or a dash, and the end of the line.
fn write_value(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push_str(if depth > 0 { "\n" } else { "" });
            for (key, value) in members {
                write_key(key, depth, text);
                write_value(value, depth + 1, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            for item in items {
                let _ = write!(text, "{:1$}-", "", 2 * depth.saturating_sub(1));
                match item {
                    // Its first key stands beside the dash.
                    Value::Object(members) if !members.is_empty() => {
                        let start = text.len();
                        for (key, value) in members {
                            write_key(key, depth, text);
                            write_value(value, depth + 1, text);
                        }
                        text.replace_range(start..start + 2 * depth, " ");
                    }
                    item => write_value(item, depth + 1, text),
                }
            }
        }
        Value::String(value) => {
            text.push(' ');
            write_text(value, text);
            text.push('\n');
        }
        // Null, a bool, a number, or what is empty: as in JSON.
        scalar => {
            let _ = writeln!(text, " {scalar}");
        }
    }
}

fn write_key(key: &str, depth: usize, text: &mut String) {
    let _ = write!(text, "{:1$}", "", 2 * depth);
    write_text(key, text);
    text.push(':');
}

/// Without quotes where it cannot be anything else.
fn write_text(value: &str, text: &mut String) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let is_plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(is_word)
        && !matches!(
            &*value.to_ascii_lowercase(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if is_plain {
        text.push_str(value);
        return;
    }
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

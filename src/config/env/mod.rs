//! Values from the environment: placeholders in texts, secrets, and single settings.
//!
//! A text may hold `${NAME}` and `${NAME:-default}`. They are replaced in values that were read already,
//! never in the text of a file, so a value cannot add keys to it. There is one pass: what a value holds is not
//! replaced again. `$${` is a literal `${`; `$X`, `${A.B}` and `${X:def}` stay as they are.
//!
//! Whether a variable is empty or not set makes no difference. The places are asked in this order: the
//! environment for [`prefix`](EnvOptions::prefix) and the name, then for the name alone,
//! [`overrides`](EnvOptions::overrides), the default in the text, [`defaults`](EnvOptions::defaults).
//!
//! # Example
//! ```
//! use tower_upstream::config::env::{self, EnvOptions};
//!
//! let options = EnvOptions::default().with_variables([("HOST", "tax.example")]);
//! let address = env::expand("https://${HOST}:${PORT:-443}", &options)?;
//! assert_eq!(address, "https://tax.example:443");
//! # Ok::<(), tower_upstream::Error>(())
//! ```

mod expand;
mod options;
mod overrides;
mod process;
mod secrets;
mod text;

pub(crate) use self::{expand::expand_all, overrides::override_all, secrets::read_secrets};
pub use self::{options::EnvOptions, process::process, text::expand};

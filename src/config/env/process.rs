use serde::{Serialize, de::DeserializeOwned};

use super::{
    expand::expand_all, options::EnvOptions, overrides::override_all, secrets::read_secrets,
};
use crate::{
    auth::shown::{Shown, showing},
    config::{
        error::{ConfigError, Context},
        read::Reading,
        value::{Flaws, Format, Node, Path},
    },
    error::Error,
};

/// Replaces the placeholders in every text of a config, whatever its type, and sets what variables with the
/// [prefix](EnvOptions::override_prefix) say.
///
/// # Errors
/// `InvalidConfig` that names every mistake, each with its path. The config is unchanged then.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_upstream::config::env::{self, EnvOptions};
///
/// #[derive(Serialize, Deserialize)]
/// struct Mine {
///     address: String,
///     port: u16,
/// }
///
/// let mut mine = Mine { address: "${HOST}".to_owned(), port: 80 };
/// let variables = [("HOST", "tax.example"), ("MINE_PORT", "8080")];
/// let options = EnvOptions::default()
///     .with_override_prefix("MINE_".to_owned())
///     .with_variables(variables);
/// env::process(&mut mine, &options)?;
/// assert_eq!((mine.address.as_str(), mine.port), ("tax.example", 8080));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn process<T: Serialize + DeserializeOwned>(
    config: &mut T,
    options: &EnvOptions,
) -> Result<(), Error> {
    let mut flaws = Flaws::default();
    let written = showing(Shown::All, || serde_json::to_value(&*config));
    let mut root = Node::from(written.map_err(Error::caller)?);
    expand_all(&mut root, &Path::Root, options, &mut flaws, &mut Flaws::default());
    override_all(&mut root, options, &mut flaws);
    read_secrets(&mut root, &Path::Root, options, &mut flaws);
    let mut reading = Reading::new(Format::Toml, "");
    let read = reading.read::<T>(&root, &Path::Root);
    flaws.extend(reading.found.flaws.sorted());
    flaws.extend(reading.found.unknown.sorted());
    match read {
        Some(read) if flaws.is_empty() => {
            *config = read;
            Ok(())
        }
        _ => Err(ConfigError::new(flaws, &Context::default()).into()),
    }
}

//! What a watch asks for.

use super::super::encode::encode;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An application, whose name counts without case.
    App(String),
    /// All instances that have a virtual address.
    Vip { name: String, is_secure: bool },
}

impl Wanted {
    pub(super) fn app(name: &str) -> Self {
        Self::App(name.to_uppercase())
    }

    pub(super) fn vip(name: &str, is_secure: bool) -> Self {
        Self::Vip { name: name.to_owned(), is_secure }
    }

    /// Where it is read alone.
    pub(super) fn path(&self) -> String {
        match self {
            Self::App(name) => of_app(name),
            Self::Vip { name, is_secure: false } => format!("/vips/{}", encode(name)),
            Self::Vip { name, is_secure: true } => format!("/svips/{}", encode(name)),
        }
    }

    /// For logs and errors.
    pub(super) fn name(&self) -> String {
        match self {
            Self::App(name) => format!("service `{name}`"),
            Self::Vip { name, is_secure: false } => format!("virtual address `{name}`"),
            Self::Vip { name, is_secure: true } => format!("secure virtual address `{name}`"),
        }
    }
}

/// Where an application is.
pub(super) fn of_app(name: &str) -> String {
    format!("/apps/{}", encode(&name.to_uppercase()))
}

/// Where an instance is.
pub(super) fn of_instance(app: &str, id: &str) -> String {
    format!("{}/{}", of_app(app), encode(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_percent_encoded() {
        assert_eq!(Wanted::app("Tax").path(), "/apps/TAX");
        assert_eq!(Wanted::vip("tax/x", false).path(), "/vips/tax%2Fx");
        assert_eq!(Wanted::vip("tax", true).path(), "/svips/tax");
        assert_eq!(of_instance("tax", "10.0.0.1:tax:80"), "/apps/TAX/10.0.0.1%3Atax%3A80");
    }
}

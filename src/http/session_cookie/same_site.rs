/// On which calls browsers send a cookie that come from pages of other sites.
///
/// ```
/// use tower_upstream::http::{SameSite, SessionCookieLayer};
/// let embedded = SessionCookieLayer::new(["a secret of 16 bytes or more"])?.with_same_site(SameSite::None);
/// # let _ = embedded;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SameSite {
    /// None of them.
    Strict,
    /// A link that is followed, and nothing else. The default.
    #[default]
    Lax,
    /// All of them, such as those of a page in a frame, or of a script of another site. The cookie is `Secure` then,
    /// whatever else is set, or browsers would not keep it.
    None,
}

impl SameSite {
    /// Returns the value of the attribute.
    ///
    /// ```
    /// use tower_upstream::http::SameSite;
    /// assert_eq!(SameSite::default().as_str(), "Lax");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

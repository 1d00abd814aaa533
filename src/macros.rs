//! What is written for every service, and for every body.

/// The end and the length of a body whose field `body` it passes on frame by frame.
#[cfg(feature = "http")]
macro_rules! inner_body {
    () => {
        fn is_end_stream(&self) -> bool {
            self.body.is_end_stream()
        }

        fn size_hint(&self) -> http_body::SizeHint {
            self.body.size_hint()
        }
    };
}

/// `get_ref`, `get_mut` and `into_inner` of a service whose field `inner` is an `S`.
macro_rules! inner_service {
    () => {
        /// Returns a reference to the inner service.
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// Returns a mutable reference to the inner service.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns the inner service.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

/// What a service says of the choice below it, whose field `inner` is a [`Chooses`](crate::choose::Chooses).
macro_rules! inner_chooses {
    () => {
        fn has_untried(&self, tried: &Tried) -> bool {
            self.inner.has_untried(tried)
        }

        fn can_hedge(&self, tried: &Tried) -> bool {
            self.inner.can_hedge(tried)
        }

        fn poll_endpoint(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.inner.poll_endpoint(cx)
        }
    };
}

/// Setters of settings: what each is called, and the field that it sets, whose type is one that can be
/// copied, `impl Into` of one, `some` of one, or a list of `each` or of `each impl Into` one; or the two fields that
/// belong together.
macro_rules! setters {
    () => {};
    ($name:ident: $field:ident = impl Into<$type:ty>; $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $name(mut self, $field: impl Into<$type>) -> Self {
            self.$field = $field.into();
            self
        }

        setters! { $($rest)* }
    };
    ($name:ident: $field:ident = some $type:ty; $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $name(mut self, $field: impl Into<$type>) -> Self {
            self.$field = Some($field.into());
            self
        }

        setters! { $($rest)* }
    };
    ($name:ident: ($first:ident = some $one:ty, $second:ident = some $other:ty); $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($first), "`](Self::", stringify!($first), ") and [`",
            stringify!($second), "`](Self::", stringify!($second), ").")]
        #[must_use]
        pub fn $name(mut self, $first: impl Into<$one>, $second: impl Into<$other>) -> Self {
            (self.$first, self.$second) = (Some($first.into()), Some($second.into()));
            self
        }

        setters! { $($rest)* }
    };
    ($name:ident: $field:ident = each impl Into<$type:ty>; $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $name(mut self, $field: impl IntoIterator<Item = impl Into<$type>>) -> Self {
            self.$field = $field.into_iter().map(Into::into).collect();
            self
        }

        setters! { $($rest)* }
    };
    ($name:ident: $field:ident = each $type:ty; $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $name(mut self, $field: impl IntoIterator<Item = $type>) -> Self {
            self.$field = $field.into_iter().collect();
            self
        }

        setters! { $($rest)* }
    };
    ($name:ident: $field:ident = $type:ty; $($rest:tt)*) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub const fn $name(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }

        setters! { $($rest)* }
    };
}

/// What the connections of a transport carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::transport) enum Speaks {
    #[default]
    Http,
    /// Over HTTP/2 alone, also without TLS.
    #[cfg(feature = "grpc")]
    Grpc,
}

impl Speaks {
    /// Bytes of a body that are not of its message.
    pub(super) fn prefix(self) -> usize {
        match self {
            Self::Http => 0,
            #[cfg(feature = "grpc")]
            Self::Grpc => crate::grpc::frame::PREFIX,
        }
    }

    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        if self.is_grpc() { "gRPC" } else { "HTTP" }
    }

    pub(super) fn is_grpc(self) -> bool {
        self != Self::Http
    }
}

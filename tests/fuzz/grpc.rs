//! The sources themselves, since no user can reach these parsers alone.

#[path = "../../src/grpc/frame.rs"]
pub mod frame;
#[path = "../../src/wire/rpc_status.rs"]
pub mod rpc_status;
#[path = "../../src/grpc/timeout.rs"]
pub mod timeout;

/// Completes when the process is asked to stop: by SIGTERM, or by SIGINT, which Ctrl-C sends.
///
/// From the first poll on, these signals no longer end the process by themselves.
///
/// # Example
/// ```no_run
/// use tower_upstream::serve;
///
/// # async fn example(app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// axum::serve(listener, app).with_graceful_shutdown(serve::terminated()).await
/// # }
/// ```
pub async fn terminated() {
    #[cfg(unix)]
    {
        use std::pin::pin;

        use futures_util::future::select;
        use tokio::signal::unix::{SignalKind, signal};

        if let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        {
            select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // There is nothing to listen to; the process ends as it would.
        std::future::pending::<()>().await;
    }
}

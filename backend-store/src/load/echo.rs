//! The limit that a store is measured against: the same sockets and batches, and nothing done in between.

use std::io;
use std::net::SocketAddrV4;

use crate::service::udp::{BatchSocket, Outgoing, SocketOptions};

/// Sends each datagram back to where it came from, for ever, on this thread.
///
/// # Errors
/// If the socket cannot be opened, or fails.
pub fn echo(address: SocketAddrV4, options: SocketOptions) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = BatchSocket::bind(address, options)?;
        serve(socket).await
    })
}

/// Sends back what arrives at this socket.
pub(super) async fn serve(mut socket: BatchSocket) -> io::Result<()> {
    let mut outgoing = Outgoing::new();
    loop {
        socket.readable().await?;
        socket.receive(|from, bytes| outgoing.push(from, bytes))?;
        outgoing.flush(&socket);
    }
}

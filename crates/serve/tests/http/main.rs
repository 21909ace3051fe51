//! The server as clients meet it: real sockets, the built-in model.

mod hostile;
mod responses;
mod served;
mod server;
mod vectors;

//! The server as clients meet it: real sockets, the built-in model.

mod anthropic;
mod described;
mod feedback;
mod hostile;
mod ollama;
mod residence;
mod responses;
mod served;
mod server;
mod shapes;
mod smaller;
mod trace;
mod vectors;

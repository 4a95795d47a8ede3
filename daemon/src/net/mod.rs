//! The transport of sessions: sockets, pipes, and the connections over them.

pub(crate) mod listen;

pub(crate) mod connection;

pub(crate) mod flow;

pub(crate) mod turn;

pub(crate) mod socket;

pub(crate) mod local;

pub(crate) mod runtime;

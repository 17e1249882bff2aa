//! Flags of the HTTP interface.

use std::path::PathBuf;

use clap::Args;

use crate::config::{HttpAddress, HttpPartial, host_name, page_origin};

/// Flags of the HTTP interface. Each may stand in `gwa.toml` too.
#[derive(Debug, Args)]
pub struct HttpArgs {
    /// Where to serve HTTP and JSON-RPC, or `off`; port 0 picks one
    /// [default: 127.0.0.1:8547].
    #[arg(long, env = "GWA_HTTP", value_name = "ADDR")]
    http: Option<HttpAddress>,
    /// A name in `Host` to answer to, beside IP addresses and localhost; may be
    /// given more than once.
    #[arg(
        long = "http-host",
        env = "GWA_HTTP_HOSTS",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = host_name
    )]
    hosts: Vec<String>,
    /// A web page that may use it, as in https://name; may be given more than
    /// once.
    #[arg(
        long = "http-origin",
        env = "GWA_HTTP_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ',',
        value_parser = page_origin
    )]
    origins: Vec<String>,
    /// Whether the archive itself (/ipfs, /head and what belongs to them) may be
    /// read under every name in `Host` and by every web page, as of a public
    /// gateway; false asks for `--http-host` and `--http-origin` there too
    /// [default: true].
    #[arg(long, env = "GWA_HTTP_PUBLIC", value_name = "true|false")]
    http_public: Option<bool>,
    /// A file of what is not served over HTTP, in the compact denylist format;
    /// may be given more than once. It is followed while the daemon runs.
    #[arg(
        long = "denylist",
        env = "GWA_DENYLISTS",
        value_name = "FILE",
        value_delimiter = ','
    )]
    denylists: Vec<PathBuf>,
    /// Let every program of this machine do everything, without the token in
    /// DIR/rpc.token. Loopback only.
    #[arg(long, env = "GWA_RPC_OPEN")]
    rpc_open: bool,
}

impl HttpArgs {
    /// What was said, and what was left open.
    pub fn partial(&self) -> HttpPartial {
        let given = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        HttpPartial {
            address: self.http,
            hosts: given(&self.hosts),
            origins: given(&self.origins),
            open: self.rpc_open.then_some(true),
            public: self.http_public,
            denylists: (!self.denylists.is_empty()).then(|| self.denylists.clone()),
        }
    }
}

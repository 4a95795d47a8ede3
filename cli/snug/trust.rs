//! `snug fingerprint` and `snug trust`: whose key a server may have.

use clap::Args;
use snug_client::{Address, Link};
use snug_protocol::envelope::Fingerprint;

use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::{connect, environment, output};

/// Print the fingerprint that a server shows, without trusting it
#[derive(Args)]
pub(crate) struct Show {
    /// The server [default: --server, $SNUG_SERVER, then 127.0.0.1:7684]
    #[arg(value_name = "ADDRESS")]
    address: Option<Address>,
}

impl Show {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let address = match self.address {
            Some(address) => address,
            None => environment::addresses(common)?
                .into_iter()
                .find(|address| matches!(address, Address::Tcp { .. }))
                .unwrap_or_else(environment::default_address),
        };
        let fingerprint = Link::fingerprint(&address, &environment::trust(common)?).await?;
        Ok(output::print(&fingerprint.to_string())?)
    }
}

/// Trust a server from now on
///
/// With a FINGERPRINT, without asking the server for it: that makes also the first connection safe. Without one, the
/// fingerprint that the server shows now is taken, and printed.
#[derive(Args)]
pub(crate) struct Trust {
    /// The server: host[:port]
    #[arg(value_name = "ADDRESS")]
    address: Address,
    /// Its fingerprint, as `snugd fingerprint` prints it there
    #[arg(value_name = "FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
}

impl Trust {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let Address::Tcp { pin, .. } = &self.address else {
            return Err(Failure::new(
                Exit::Usage,
                "a Unix socket needs no trust: its folder says who is behind it",
            ));
        };
        if environment::known_hosts().is_none() {
            return Err(Failure::new(
                Exit::Identity,
                "there is no home to write down who is trusted; set HOME",
            ));
        }
        let trust = environment::trust(common)?;
        let named = self.fingerprint.or(*pin);
        let fingerprint = match named {
            Some(fingerprint) => fingerprint,
            None => {
                let offered = Link::fingerprint(&self.address, &trust).await?;
                let known = trust.known.find(&self.address.to_string())?;
                if known.is_some_and(|known| known != offered) {
                    return Err(Failure::changed(&self.address, known.unwrap_or(offered), offered));
                }
                offered
            }
        };
        connect::remember(&*trust.known, &self.address, fingerprint)?;
        Ok(output::print(&format!("{} {fingerprint}", self.address))?)
    }
}

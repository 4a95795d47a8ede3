//! `snug fingerprint` and `snug trust`: whose key a server may have.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use clap::Args;
use snug_client::{Address, KnownServers, Link};
use snug_protocol::envelope::Fingerprint;

use crate::failure::{Exit, Failure};
use crate::{Common, output, place};

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
            None => place::addresses(common)?
                .into_iter()
                .find(|address| matches!(address, Address::Tcp { .. }))
                .unwrap_or_else(place::default_address),
        };
        let fingerprint = Link::fingerprint(&address, &place::trust(common)?).await?;
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
        if place::known_hosts().is_none() {
            return Err(Failure::new(
                Exit::Identity,
                "there is no home to write down who is trusted; set HOME",
            ));
        }
        let trust = place::trust(common)?;
        let named = self.fingerprint.or(*pin);
        let fingerprint = match named {
            Some(fingerprint) => fingerprint,
            None => {
                let offered = Link::fingerprint(&self.address, &trust).await?;
                let known = trust.known.find(&self.address.to_string())?;
                if known.is_some_and(|known| known != offered) {
                    return Err(changed(&self.address, known.unwrap_or(offered), offered));
                }
                offered
            }
        };
        remember(&*trust.known, &self.address, fingerprint)?;
        Ok(output::print(&format!("{} {fingerprint}", self.address))?)
    }
}

/// Writes down that a server is trusted.
pub(crate) fn remember(
    known: &dyn KnownServers,
    address: &Address,
    fingerprint: Fingerprint,
) -> Result<(), Failure> {
    let failed =
        |error| Failure::new(Exit::Identity, format!("cannot write down that {address} is trusted: {error}"));
    known.remember(&address.to_string(), fingerprint).map_err(failed)
}

/// Asks the person at the terminal, if there is one, whether a server is the right one.
pub(crate) fn ask(address: &Address, offered: Fingerprint) -> bool {
    if !io::stderr().is_terminal() {
        return false;
    }
    // Not stdin: that may be what is to be sent.
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return false };
    let question = format!(
        "The server {address} is not known.\nIts fingerprint is {offered}\n\
         (`snugd fingerprint` prints it there.) Is that the right one? [yes/no] "
    );
    if terminal.write_all(question.as_bytes()).is_err() {
        return false;
    }
    let mut answer = String::new();
    let read = BufReader::new(terminal).read_line(&mut answer);
    read.is_ok() && answer.trim().eq_ignore_ascii_case("yes")
}

/// What is said about a server whose key is another one.
pub(crate) fn changed(address: &Address, expected: Fingerprint, offered: Fingerprint) -> Failure {
    let text = format!(
        "THE KEY OF {address} HAS CHANGED. Somebody may be in the middle, reading along; or the server has a new key. \
         Nothing was said to it.\n  known:   {expected}\n  offered: {offered}\nAsk whoever runs the server. If the \
         new one is right: snug trust {address} {offered}"
    );
    Failure::new(Exit::Identity, text)
}

//! One round trip from nothing to an open channel (PROTOCOL.md, *Handshake*).

use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use ring::digest;
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::hello::{self, Hello};
use super::kem::{self, ClientKem};
use super::record::{Opened, Opener, Padding, Sealer};
use super::secret::{Binding, Psk, Secret};
use super::{AcceptError, HandshakeError, PublicKey, ServerKey, base64};

/// What the server signs in front of the transcript.
const SERVER_SIGNATURE: &[u8] = b"snug/1 server signature\0";

/// An open channel. The halves work alone, and may go to two tasks.
pub struct Channel {
    /// Seals what is sent.
    pub sealer: Sealer,
    /// Opens what is received.
    pub opener: Opener,
    /// What stands for this channel, for a client's own proof.
    pub binding: Binding,
}

/// How a client greets.
#[derive(Clone, Default)]
pub struct ClientOptions {
    /// The server-wide key, if the client has it. The server then has to use it.
    pub psk: Option<Psk>,
    /// Whether a server without ML-KEM is refused. It is always offered if it is built in.
    pub insist_on_mlkem768: bool,
}

/// What a server asks of a hello.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// The server-wide key. With it, hellos without it are refused.
    pub psk: Option<Psk>,
}

/// A client that has greeted.
pub struct ClientHandshake {
    hello: String,
    share: EphemeralPrivateKey,
    kem: Option<ClientKem>,
    options: ClientOptions,
}

impl ClientHandshake {
    /// Makes fresh keys and a hello. It asks `random` for 32 bytes, and then for 64 if ML-KEM is built in.
    ///
    /// # Errors
    /// [`HandshakeError::Random`].
    pub fn start(
        options: ClientOptions,
        random: &dyn SecureRandom,
    ) -> Result<ClientHandshake, HandshakeError> {
        ClientHandshake::start_with(options, cfg!(feature = "mlkem768"), random)
    }

    /// As [`ClientHandshake::start`], without offering ML-KEM.
    ///
    /// # Errors
    /// [`HandshakeError::Random`].
    pub fn start_classical(
        options: ClientOptions,
        random: &dyn SecureRandom,
    ) -> Result<ClientHandshake, HandshakeError> {
        ClientHandshake::start_with(options, false, random)
    }

    fn start_with(
        options: ClientOptions,
        offers_kem: bool,
        random: &dyn SecureRandom,
    ) -> Result<ClientHandshake, HandshakeError> {
        let share = EphemeralPrivateKey::generate(&X25519, random).map_err(|_| HandshakeError::Random)?;
        let public = share.compute_public_key().map_err(|_| HandshakeError::Random)?;
        let kem = match offers_kem {
            true => Some(ClientKem::generate(random).ok_or(HandshakeError::Random)?),
            false => None,
        };
        let mut offered = Vec::new();
        offered.extend(options.psk.as_ref().map(|psk| ("psk", psk.id())));
        offered.extend(kem.as_ref().map(|kem| (kem::OPTION, kem.offer())));
        Ok(ClientHandshake { hello: hello::write(public.as_ref(), &offered), share, kem, options })
    }

    /// The line to send first, with its LF.
    pub fn hello(&self) -> &str {
        &self.hello
    }

    /// Takes the server's hello, without its LF: the first line behind the greeting.
    ///
    /// # Errors
    /// The server refuses, answers something else than was offered, or leaves out what this client insists on. None
    /// of that is a reason to try again with less.
    pub fn server_hello(self, line: &str) -> Result<AwaitingIdentity, HandshakeError> {
        if let Some(refusal) = line.strip_prefix("ERR HELLO ") {
            let (code, text) = refusal.split_once(' ').unwrap_or((refusal, ""));
            return Err(HandshakeError::Refused { code: code.to_owned(), text: text.to_owned() });
        }
        let answer = Hello::parse(line).map_err(|_| HandshakeError::Hello)?;
        if answer.versions != super::VERSION {
            return Err(HandshakeError::Hello);
        }
        let psk = self.options.psk.as_ref();
        let was_offered =
            |name: &str| name == "psk" && psk.is_some() || name == kem::OPTION && self.kem.is_some();
        if !answer.option_names().all(was_offered) {
            return Err(HandshakeError::Hello);
        }
        if let Some(psk) = psk
            && answer.option("psk") != Some(&psk.id())
        {
            return Err(HandshakeError::Missing("psk"));
        }
        let kem_shared = match (&self.kem, answer.has(kem::OPTION)) {
            (Some(kem), true) => {
                let answer = answer.option(kem::OPTION).ok_or(HandshakeError::Hello)?;
                Some(kem.finish(answer).ok_or(HandshakeError::Hello)?)
            }
            _ if self.options.insist_on_mlkem768 => return Err(HandshakeError::Missing(kem::OPTION)),
            _ => None,
        };
        let prk = agree(self.share, &answer.share, kem_shared, psk).ok_or(HandshakeError::Hello)?;
        let hellos = [self.hello.as_bytes(), line.as_bytes(), b"\n"].concat();
        Ok(AwaitingIdentity { prk, hellos })
    }
}

/// A client that waits for the server's identity.
pub struct AwaitingIdentity {
    prk: Secret,
    /// Both hello lines, each with its LF.
    hellos: Vec<u8>,
}

impl AwaitingIdentity {
    /// Takes the envelope with the server's identity, without its LF.
    ///
    /// # Errors
    /// [`HandshakeError::Identity`] if it does not open, is malformed, weak or wrongly signed.
    pub fn identity(self, line: &str) -> Result<Offered, HandshakeError> {
        let th1 = hash(&[&self.hellos]);
        let mut opener = Opener::new(self.prk.derive("server identity", &th1));
        let opened = opener.open(line).map_err(|_| HandshakeError::Identity)?;
        let Opened::Lines(identity) = opened else { return Err(HandshakeError::Identity) };
        let key = check_identity(&identity, &th1).ok_or(HandshakeError::Identity)?;
        Ok(Offered { key, secrets: Secrets::new(&self.prk, &self.hellos, identity.as_bytes()) })
    }
}

/// Reads `IDENTITY <key> <signature>` and holds the signature against the transcript.
fn check_identity(line: &str, th1: &[u8; 32]) -> Option<PublicKey> {
    let (key, signature) = line.strip_prefix("IDENTITY ")?.strip_suffix('\n')?.split_once(' ')?;
    let key = PublicKey::new(base64::decode::<32>(key)?).ok()?;
    let signature = base64::decode::<64>(signature)?;
    key.verifies(&signed(th1, &key), &signature).then_some(key)
}

/// A channel whose server has proved to hold a key. Whether that key is the right one is for the caller to say.
pub struct Offered {
    key: PublicKey,
    secrets: Secrets,
}

impl Offered {
    /// The server's key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Opens the channel to a server that is trusted. The client should send one record at once: that ends the
    /// server's handshake clock.
    pub fn trust(self) -> Channel {
        let Secrets { client, server, binding } = self.secrets;
        Channel { sealer: Sealer::new(client), opener: Opener::new(server), binding: Binding(binding) }
    }
}

/// The server's whole part. Takes a client's hello without its LF; gives the reply, which is its own hello and the
/// envelope with its identity, each with its LF, and the open channel. It asks `random` for 32 bytes, and then for 32
/// more if the client offered ML-KEM.
///
/// # Errors
/// An [`AcceptError`], to be told the client before the connection is closed.
pub fn accept(
    line: &str,
    key: &ServerKey,
    options: &ServerOptions,
    random: &dyn SecureRandom,
) -> Result<(String, Channel), AcceptError> {
    let client = Hello::parse(line)?;
    let mut answered = Vec::new();
    if let Some(psk) = &options.psk {
        let id = psk.id();
        if !client.option("psk").is_some_and(|offered| is_same(offered, &id)) {
            return Err(AcceptError::Psk);
        }
        answered.push(("psk", id));
    }
    let share = EphemeralPrivateKey::generate(&X25519, random).map_err(|_| AcceptError::Hello)?;
    let public = share.compute_public_key().map_err(|_| AcceptError::Hello)?;
    let mut kem_shared = None;
    if cfg!(feature = "mlkem768") && client.has(kem::OPTION) {
        let offer = client.option(kem::OPTION).ok_or(AcceptError::Hello)?;
        let (answer, shared) = kem::answer(offer, random).ok_or(AcceptError::Hello)?;
        answered.push((kem::OPTION, answer));
        kem_shared = Some(shared);
    }
    let prk = agree(share, &client.share, kem_shared, options.psk.as_ref()).ok_or(AcceptError::Hello)?;

    let mut reply = hello::write(public.as_ref(), &answered);
    let hellos = [line.as_bytes(), b"\n", reply.as_bytes()].concat();
    let th1 = hash(&[&hellos]);
    let public_key = key.public_key();
    let signature = key.sign(&signed(&th1, &public_key));
    let identity = format!(
        "IDENTITY {} {}\n",
        base64::encode_string(public_key.as_bytes()),
        base64::encode_string(&signature)
    );
    let mut envelope = Vec::new();
    let sealed =
        Sealer::new(prk.derive("server identity", &th1)).seal_lines(&identity, Padding::None, &mut envelope);
    sealed.map_err(|_| AcceptError::Hello)?;
    reply.push_str(std::str::from_utf8(&envelope).map_err(|_| AcceptError::Hello)?);

    let Secrets { client, server, binding } = Secrets::new(&prk, &hellos, identity.as_bytes());
    Ok((
        reply,
        Channel { sealer: Sealer::new(server), opener: Opener::new(client), binding: Binding(binding) },
    ))
}

/// The secrets of an open channel.
struct Secrets {
    client: Secret,
    server: Secret,
    binding: Secret,
}

impl Secrets {
    fn new(prk: &Secret, hellos: &[u8], identity: &[u8]) -> Secrets {
        let th2 = hash(&[hellos, identity]);
        Secrets {
            client: prk.derive("client traffic", &th2),
            server: prk.derive("server traffic", &th2),
            binding: prk.derive("binding", &th2),
        }
    }
}

/// Both shares, and what the options add, become one secret. `None` for a share of small order.
fn agree(
    own: EphemeralPrivateKey,
    other: &[u8; 32],
    kem: Option<Secret>,
    psk: Option<&Psk>,
) -> Option<Secret> {
    // ring refuses a share that leads to an all-zero result.
    let x25519 = agreement::agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, other), |shared| {
        Zeroizing::new(shared.to_vec())
    });
    let x25519 = x25519.ok()?;
    // The order is that of X25519MLKEM768.
    let kem: &[u8] = kem.as_ref().map_or(&[], |kem| kem.as_bytes());
    let ikm = Zeroizing::new([kem, &x25519].concat());
    let none = Secret::take(&mut [0; 32]);
    Some(psk.map_or(&none, |psk| psk.secret()).extract(&ikm))
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// What the server's signature covers.
fn signed(th1: &[u8; 32], key: &PublicKey) -> Vec<u8> {
    [SERVER_SIGNATURE, th1, key.as_bytes()].concat()
}

/// Compares in a time that tells nothing about where two texts differ.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

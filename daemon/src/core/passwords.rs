//! Password hashing. It is slow on purpose, so it runs on a few threads of its own.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::workers::{Job, Workers};

/// Minimum and maximum length of a password in bytes.
pub(crate) const SHORTEST: usize = 8;
pub(crate) const LONGEST: usize = 512;

/// Number of threads that hash passwords, and of jobs that may wait for them.
const THREADS: usize = 2;
const WAITING: usize = 64;

/// How long these threads stay, with their memory.
const LINGER: Duration = Duration::from_secs(30);

thread_local! {
    /// The memory of a thread, which is taken once. If it was taken for each password, the allocator would put small things
    /// between and keep 20 MiB for each of many.
    static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// The threads that hash and compare passwords.
pub(crate) struct Passwords {
    threads: Arc<Workers>,
    /// The number of passwords hashed or compared.
    count: AtomicU64,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { threads: Workers::new("snug-password", THREADS, LINGER), count: AtomicU64::new(0) }
    }
}

/// A hash to compare with if there is no account, so that this takes the same time.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| make("nobody has this password", &[7; 16]).unwrap_or_default());

/// Returns the PHC string of a password: Argon2id with OWASP's parameters (19 MiB, two passes, one lane), which are
/// the crate's defaults.
fn make(password: &str, salt: &[u8; 16]) -> Option<String> {
    let argon = Argon2::default();
    let hash = PasswordHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(argon.params()).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(digest(&argon, password, salt)?),
    };
    Some(hash.to_string())
}

/// Returns the hash of a password, or `None` if there is not enough memory.
fn digest(argon: &Argon2<'_>, password: &str, salt: &[u8]) -> Option<Output> {
    BLOCKS.with_borrow_mut(|blocks| {
        let count = argon.params().block_count();
        if blocks.len() < count {
            blocks.try_reserve_exact(count - blocks.len()).ok()?;
            blocks.resize(count, Block::default());
        }
        let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
        let done =
            argon.hash_password_into_with_memory(password.as_bytes(), salt, &mut out, &mut blocks[..count]);
        // Nothing of the password stays.
        blocks.fill(Block::default());
        done.ok()?;
        Output::new(&out).ok()
    })
}

/// Returns whether a password has a hash, by the parameters that stand with it.
fn has(password: &str, hash: &PasswordHash) -> Option<bool> {
    let params = Params::try_from(hash).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = Version::try_from(hash.version?).ok()?;
    let argon = Argon2::new(algorithm, version, params);
    // The comparison takes the same time whatever the difference is.
    Some(digest(&argon, password, hash.salt?.as_ref())? == hash.hash?)
}

impl Passwords {
    /// Returns the PHC string of a password, or `None` if there is not enough memory.
    pub(crate) fn hash(&self, password: &str, salt: &[u8; 16]) -> Option<String> {
        self.count.fetch_add(1, Relaxed);
        make(password, salt)
    }

    /// Returns whether a password matches a PHC string. Without one it takes as long and returns false.
    pub(crate) fn verify(&self, password: &str, with: Option<&str>) -> bool {
        self.count.fetch_add(1, Relaxed);
        let Ok(hash) = PasswordHash::new(with.unwrap_or(&NOBODY)) else { return false };
        has(password, &hash).unwrap_or(false) && with.is_some()
    }

    /// Returns the number of passwords hashed or compared.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Returns whether another job may wait. Callers ask before they begin anything, so this reserves no place.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        self.threads.waiting() < WAITING
    }

    /// Queues a job that hashes or compares a password.
    pub(crate) fn submit(&self, job: Job) {
        self.threads.submit(job);
    }

    /// Runs every job on the caller's thread.
    #[cfg(test)]
    pub(crate) fn set_inline(&self) {
        self.threads.set_inline();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_only_itself() {
        let passwords = Passwords::default();
        let made = passwords.hash("correct horse", &[3; 16]).expect("memory");
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
        assert!(passwords.verify("correct horse", Some(&made)));
        assert!(!passwords.verify("correct hors", Some(&made)));
        assert!(!passwords.verify("nobody has this password", None), "nobody's is nobody's");
        assert!(!passwords.verify("x", Some("no hash")));
        assert_eq!(passwords.count(), 5);
        // The crate's own hashes, which are in older logs, are the same.
        use argon2::password_hash::PasswordHasher;
        let own = Argon2::default().hash_password_with_salt(b"correct horse", &[3; 16]).expect("memory");
        assert_eq!(own.to_string(), made);
    }
}

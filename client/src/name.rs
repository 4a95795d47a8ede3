//! The nickname that a client asks for.

use snug_protocol::{NameError, Nick};

/// The nickname that a client asks for.
///
/// ```
/// use snug_client::Name;
/// use snug_protocol::NameError;
///
/// let name = Name::exactly("alice")?;
/// assert_ne!(name, Name::or_numbered("alice"));
/// assert_eq!(Name::exactly("two words"), Err(NameError::Character));
/// assert_eq!(Name::or_numbered("two words"), Name::or_numbered("guest"));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub(crate) nick: Nick<'static>,
    pub(crate) numbered: bool,
}

impl Name {
    /// The largest number that is appended to a nickname.
    const NUMBERS: u32 = 99;

    /// Asks for this nickname and no other.
    ///
    /// # Errors
    /// Fails if the text is not a valid nickname.
    pub fn exactly(nick: &str) -> Result<Name, NameError> {
        Ok(Name { nick: Nick::parse(nick)?.into_owned(), numbered: false })
    }

    /// Asks for this nickname or, if it is taken, for `name-2`, `name-3` and so on, up to `name-99`. A text that is
    /// not a valid nickname becomes `guest`.
    pub fn or_numbered(nick: &str) -> Name {
        let nick = Nick::parse(nick).or_else(|_| Nick::parse("guest")).expect("guest is a nick");
        Name { nick: nick.into_owned(), numbered: true }
    }

    /// Returns whether to use an account of that name: it is the requested nickname, or the request allows others.
    pub(crate) fn may_be(&self, account: &str) -> bool {
        self.numbered || Nick::parse(account).is_ok_and(|account| account.fold() == self.nick.fold())
    }

    /// Returns the nicknames to try, in order.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Nick<'static>> {
        let last = if self.numbered { Name::NUMBERS } else { 1 };
        let base: String = self.nick.as_str().chars().take(snug_protocol::limits::NICK - 3).collect();
        let numbered = (2..=last)
            .filter_map(move |number| Nick::parse(&format!("{base}-{number}")).ok().map(Nick::into_owned));
        std::iter::once(self.nick.clone()).chain(numbered)
    }
}

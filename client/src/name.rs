//! The name that a client asks for.

use snug_protocol::{NameError, Nick};

/// The name a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub(crate) nick: Nick<'static>,
    pub(crate) numbered: bool,
}

impl Name {
    /// How many numbers are tried.
    const NUMBERS: u32 = 99;

    /// This name and no other.
    ///
    /// # Errors
    /// It is no nick.
    pub fn exactly(nick: &str) -> Result<Name, NameError> {
        Ok(Name { nick: Nick::parse(nick)?.into_owned(), numbered: false })
    }

    /// This name, or if somebody else has it `name-2`, `name-3` and so on. What is no nick becomes `guest`.
    pub fn or_numbered(nick: &str) -> Name {
        let nick = Nick::parse(nick).or_else(|_| Nick::parse("guest")).expect("guest is a nick");
        Name { nick: nick.into_owned(), numbered: true }
    }

    /// Whether an account of that name is who is meant: it is the name, or no name was asked for in particular.
    pub(crate) fn may_be(&self, account: &str) -> bool {
        self.numbered || Nick::parse(account).is_ok_and(|account| account.fold() == self.nick.fold())
    }

    /// The nicks to try, in order.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Nick<'static>> {
        let last = if self.numbered { Name::NUMBERS } else { 1 };
        let base: String = self.nick.as_str().chars().take(snug_protocol::limits::NICK - 3).collect();
        let numbered = (2..=last)
            .filter_map(move |number| Nick::parse(&format!("{base}-{number}")).ok().map(Nick::into_owned));
        std::iter::once(self.nick.clone()).chain(numbered)
    }
}

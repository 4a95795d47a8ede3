//! Handlers of STATUS and PROFILE: how a user appears to others.

use std::collections::HashSet;
use std::sync::Arc;

use snug_protocol::{
    Action, Body, Code, Nick, Presence, ProfileChange, Role, ServerLine, TagBuilder, escape_text,
    is_deceptive,
};

use super::{Answered, Incoming, Session, refusal};
use crate::answer::Answer;
use crate::log::{AccountAct, Act, Draft};
use crate::refusal::Refusal;

/// Maximum bytes of a status text, and of a display name.
const STATUS_TEXT: usize = 256;
const DISPLAY: usize = 64;

/// The media types allowed for an avatar. SVG is not among them, because it can carry scripts.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/// An avatar that a client is uploading.
pub(super) struct PictureUpload {
    kind: String,
    bytes: Vec<u8>,
    answer: Answer,
}

impl PictureUpload {
    /// Returns the bytes received so far.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Session {
    pub(super) fn status(&self, presence: Presence, text: Option<&str>) -> Result<Answered, Refusal> {
        if text.is_some_and(|text| escape_text(text).len() > STATUS_TEXT) {
            let what = format!("the text of a status has at most {STATUS_TEXT} bytes");
            return Err(refusal(Code::TooLong, &what));
        }
        let me = self.me()?;
        let silent = match text {
            Some(_) => {
                self.must_not_be_muted()?;
                self.silent_rooms()
            }
            None => HashSet::new(),
        };
        me.set_presence(presence, text.map(str::to_owned));
        let time = self.core.environment.clock.now();
        let announce = self.core.config().limits.announce_members;
        let body = |text: Option<&str>| Body::Status {
            status: presence.word(),
            text: text.map(|text| text.to_owned().into()),
        };
        let bodies = (body(text), body(None));
        self.core.registry.tell_status(me.number, bodies, time, &self.peer, (&silent, announce));
        Ok(Answered::Ok(Some(presence.word().to_owned())))
    }

    pub(super) fn profile(
        &mut self,
        nick: &Nick<'_>,
        change: &ProfileChange<'_>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (name, value) = match change {
            ProfileChange::Ask(part) => return self.show_profile(nick, *part, answer),
            ProfileChange::Clear(name) => (*name, None),
            ProfileChange::Set(name, value) => (*name, Some(&**value)),
        };
        self.must_be_own_profile(nick)?;
        if name == "display" && value.is_some() {
            self.must_not_be_muted()?;
        }
        let bad = |text: &str| Err(refusal(Code::BadParameter, text));
        let name = match (name, value) {
            ("display", Some(value)) => {
                let is_plain = |c: char| !c.is_control() && !is_deceptive(c);
                if value.len() > DISPLAY || value.trim().is_empty() || !value.chars().all(is_plain) {
                    return bad(
                        "a name to show has 1 to 64 bytes, and no controls or characters that turn text around",
                    );
                }
                "display"
            }
            ("colour", Some(value)) => {
                let digits = value.strip_prefix('#').filter(|digits| digits.len() == 6);
                if !digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())) {
                    return bad("a colour is #rrggbb, in hexadecimal");
                }
                "colour"
            }
            ("avatar", Some(_)) => {
                let what = "a picture comes as bytes behind the line: @bytes=<count> PROFILE <nick> avatar <media type>";
                return Err(refusal(Code::MissingParameter, what));
            }
            ("display", None) => "display",
            ("colour", None) => "colour",
            ("avatar", None) => "avatar",
            _ => return bad("the parts of a profile are display, colour and avatar"),
        };
        self.set_profile(name, value.map(str::to_owned), None, answer)
    }

    /// Prepares to receive an avatar of `count` bytes.
    pub(super) fn begin_upload(
        &mut self,
        nick: &Nick<'_>,
        kind: &str,
        count: u64,
        answer: Answer,
    ) -> Result<(), Refusal> {
        self.must_be_own_profile(nick)?;
        if !PICTURES.contains(&kind) {
            let text = format!("a picture is one of {}", PICTURES.join(", "));
            return Err(refusal(Code::BadParameter, &text));
        }
        if count == 0 {
            return Err(refusal(Code::NoText, "the picture is empty; @clear takes the avatar away"));
        }
        let upload = PictureUpload { kind: kind.to_owned(), bytes: Vec::new(), answer };
        self.incoming = Some(Box::new(Incoming::Picture(upload)));
        Ok(())
    }

    /// Sets an avatar whose bytes have all arrived.
    pub(super) fn finish_upload(&mut self, upload: PictureUpload) {
        let PictureUpload { kind, bytes, mut answer } = upload;
        if let Err(refused) = self.set_profile("avatar", Some(kind), Some(bytes), &mut answer) {
            self.answer(&answer.refuse(&refused));
        }
    }

    fn must_be_own_profile(&self, nick: &Nick<'_>) -> Result<(), Refusal> {
        let me = self.me()?;
        if !me.is_account() {
            let text = "this takes an account; REGISTER makes one, AUTH logs in to one";
            return Err(refusal(Code::LoginNeeded, text));
        }
        let is_own = Nick::parse(&me.nick()).is_ok_and(|own| own.fold() == nick.fold());
        if !is_own || me.role() < Action::ChangeProfile.least() {
            return Err(refusal(Code::Denied, "a profile is changed by whose it is"));
        }
        Ok(())
    }

    fn set_profile(
        &mut self,
        name: &'static str,
        value: Option<String>,
        avatar: Option<Vec<u8>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let me = Arc::clone(self.me()?);
        let act = AccountAct::SetProfile { name, value, avatar };
        let draft = Draft::new(self.author(&me), Act::Account(Box::new(act)));
        Ok(self.answer_when_decided(draft, answer, move |_, _| Ok(Some(me.nick()))))
    }

    fn show_profile(
        &mut self,
        nick: &Nick<'_>,
        part: Option<&str>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let known = self.core.registry.known(nick);
        let (whom, shown) = known.ok_or_else(|| super::talk::nobody_called(nick))?;
        let profile = whom.profile();
        match part {
            None => {}
            Some("avatar") if profile.avatar.is_some() => {
                return Ok(self.show_avatar((whom.number, profile.avatar_hash), shown, answer));
            }
            Some("display" | "colour" | "avatar") => {}
            Some(_) => {
                return Err(refusal(
                    Code::BadParameter,
                    "the parts of a profile are display, colour and avatar",
                ));
            }
        }
        let parts = [("display", profile.display), ("colour", profile.colour), ("avatar", profile.avatar)];
        for (name, value) in parts {
            if let Some(value) = value.filter(|_| part.is_none_or(|part| part == name)) {
                let item = format!("{name}={value}");
                let mut tags = TagBuilder::default();
                tags.value("avatar", profile.avatar_hash.as_deref().filter(|_| name == "avatar"));
                answer.row(tags, ServerLine::new(Body::Profile { nick: &shown, item: &item }));
            }
        }
        Ok(Answered::Ok(Some(shown)))
    }

    /// Answers with a row that the bytes of an avatar follow.
    fn show_avatar(
        &mut self,
        (number, hash): (u64, Option<String>),
        shown: String,
        answer: &mut Answer,
    ) -> Answered {
        let mut responder = self.responder(answer);
        let _ = self.core.read(
            self.peer.payer(),
            Box::new(move |view| {
                let picture = view.map(|view| view.avatar(number));
                match picture {
                    Some(Ok(Some((kind, picture)))) => {
                        let item = format!("avatar={kind}");
                        let mut tags = TagBuilder::default();
                        tags.value("avatar", hash.as_deref());
                        tags.display("bytes", Some(picture.len()));
                        responder
                            .answer()
                            .row(tags, ServerLine::new(Body::Profile { nick: &shown, item: &item }));
                        responder.give_bytes(picture, &shown);
                    }
                    Some(Ok(None)) => responder.give(Ok(Some(shown))),
                    Some(Err(error)) => responder.give(Err(error.into())),
                    None => responder.give(Err(super::history::unreadable())),
                }
            }),
        );
        Answered::InFlight
    }

    /// Returns the session's role on the server: that of its identity or of its origin, whichever is higher.
    pub(super) fn role_here(&self) -> Role {
        let role = self.me.as_ref().map_or(Role::Nobody, |me| me.role());
        if self.me.is_some() { role.max(self.origin_role()) } else { role }
    }
}

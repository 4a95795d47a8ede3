//! Names: logging in, renaming, recalling identities from the log, and forgetting them.

use super::{Identity, Person, Proof, Registry, State, presence, refuse};
use crate::config::Limits;
use crate::log::IdentityRecord;
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::registry::rooms::Joins;
use snug_protocol::{Body, Code, Folded, Nick, Presence, Role, RoomName, Timestamp};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A session's request for a name.
pub(crate) struct NewSession<'a> {
    pub(crate) peer: &'a Arc<Peer>,
    pub(crate) nick: &'a Nick<'a>,
    /// Whether it joins nothing and is not announced.
    pub(crate) quiet: bool,
    /// Whether it is a bot's.
    pub(crate) bot: bool,
    /// Its proofs of an identity that may exist, the best first.
    pub(crate) shows: Vec<Proof>,
    /// The proof of a new identity.
    pub(crate) proof: Proof,
    /// The number of a new identity.
    pub(crate) number: u64,
    /// The rooms that it comes into, by number; `None` for the lobby.
    pub(crate) rooms: Option<&'a [u64]>,
    /// The role of a new identity on the server.
    pub(crate) role: Role,
    pub(crate) time: Timestamp,
}

/// The identity that a session has taken.
#[derive(Clone)]
pub(crate) struct Entered {
    pub(crate) identity: Arc<Identity>,
    /// The proof that the session may use an existing identity; `None` if the identity is new.
    pub(crate) proved: Option<Proof>,
    /// Whether an existing identity has returned under another nickname.
    pub(crate) is_renamed: bool,
}

impl Registry {
    /// Gives a session a name. Unless it is `quiet` or banned from there, it joins the lobby.
    ///
    /// # Errors
    /// The session has ended, or another identity holds the name or one that looks like it.
    pub(crate) fn enter(&self, entrance: &NewSession<'_>, limits: &Limits) -> Result<Entered, Refusal> {
        let mut state = self.state();
        if !state.peers.contains_key(&entrance.peer.id) {
            // The client disconnected while a password was compared or the log decided.
            return refuse(Code::Unavailable, "the connection is over");
        }
        let shown = entrance.shows.iter().find_map(|proof| Some((*state.proofs.get(proof)?, proof.clone())));
        let mut is_renamed = false;
        let (number, proved) = match shown {
            Some((number, proof)) => {
                let before =
                    state.people.get(&number).map(|person| (person.nick.clone(), person.fold.clone()));
                let (nick, fold) = before.unzip();
                is_renamed = nick.as_deref() != Some(entrance.nick.as_str());
                let line = state.take_name(number, entrance.nick, entrance.time)?;
                let announce = limits.announce_members;
                let cost = state.tell_rename(number, fold.as_ref(), &line, None, announce);
                entrance.peer.spent.add(cost);
                (number, Some(proof))
            }
            None => (state.create(entrance)?, None),
        };
        entrance.peer.set_identity(number);
        state.name_taken(entrance.peer);
        let person = state.people.get_mut(&number).expect("it was found or made above");
        if entrance.peer.hears_private() {
            person.identity.audience.add(entrance.peer);
        }
        person.sessions.push(Arc::clone(entrance.peer));
        person.away_since = None;
        person.was_here = true;
        let was_fading = std::mem::take(&mut person.is_fading);
        if person.sessions.len() == 1 {
            person.since = entrance.time;
        }
        let entered = Entered { identity: Arc::clone(&person.identity), proved, is_renamed };
        state.away_count -= u64::from(was_fading);
        if !entrance.quiet {
            state.hear(number, entrance.peer, entrance.time);
            if let Some(rooms) = entrance.rooms {
                state.come_into(number, entrance, rooms, limits);
                return Ok(entered);
            }
            let lobby = RoomName::LOBBY.fold();
            let (nick, now) = (entrance.nick.as_str(), entrance.time);
            // Whoever is banned from it does not come into it, and nobody sees that they were here.
            if !state.rooms.get(&lobby).is_some_and(|lobby| lobby.room.is_banned(number, nick, now)) {
                state.join(
                    number,
                    Joins::WithLogin(entrance.peer),
                    &lobby,
                    entrance.time,
                    limits.announce_members,
                );
            }
        }
        Ok(entered)
    }

    /// Gives the identity of `peer` another name, and tells the others.
    ///
    /// # Errors
    /// Another identity holds the name or one that looks like it.
    pub(crate) fn rename(
        &self,
        peer: &Arc<Peer>,
        nick: &Nick<'_>,
        time: Timestamp,
        limits: &Limits,
    ) -> Result<String, Refusal> {
        let mut state = self.state();
        let number = peer.identity();
        let before = state.people.get(&number).map(|person| person.fold.clone());
        let line = state.take_name(number, nick, time)?;
        let announce = limits.announce_members;
        peer.spent.add(state.tell_rename(number, before.as_ref(), &line, Some(peer), announce));
        Ok(nick.as_str().to_owned())
    }

    /// Adds identities that the log remembers. They count as offline since `now` milliseconds.
    pub(crate) fn recall(&self, identities: Vec<(IdentityRecord, u64)>, now: u64) {
        let mut state = self.state();
        for (known, delivered) in identities {
            state.recall(&known, delivered, now);
        }
    }

    /// Notes that the log knows these identities. Those new to the registry count as offline since `now`
    /// milliseconds.
    pub(crate) fn learn(&self, records: &[IdentityRecord], now: u64) {
        let mut state = self.state();
        for record in records {
            match state.people.get(&record.number) {
                Some(person) => person.identity.is_recorded.store(true, Relaxed),
                None => {
                    let proof = Proof::read(&record.proof);
                    let newer = proof.and_then(|proof| state.proofs.get_key_value(&proof));
                    let newer = newer.filter(|(_, number)| **number > record.number);
                    let newer = newer.map(|(proof, number)| (proof.clone(), *number));
                    state.recall(record, 0, now);
                    // Forgotten too early: who has come with the proof since then keeps it.
                    state.proofs.extend(newer);
                }
            }
        }
    }

    /// Applies a nickname and proof of an identity from the log, unless the registry decides its name.
    pub(crate) fn take_over_name(&self, record: &IdentityRecord) {
        let (Some(proof), Ok(nick)) = (Proof::read(&record.proof), Nick::parse(&record.nick)) else { return };
        let mut state = self.state();
        if state.people.get(&record.number).is_none_or(|person| person.was_here) {
            return;
        }
        state.set_nick(record.number, &nick);
        let Some(person) = state.people.get_mut(&record.number) else { return };
        let old = std::mem::replace(&mut person.proof, proof.clone());
        state.proofs.remove(&old);
        state.proofs.insert(proof, record.number);
    }

    /// Forgets an identity that the log has forgotten, unless it has had a session: then the registry decides.
    pub(crate) fn forget(&self, number: u64) {
        let mut state = self.state();
        if state.people.get(&number).is_some_and(|person| !person.was_here) {
            state.remove_person(number);
        }
    }

    /// Returns the record of an identity for the log, unless the log has it already.
    pub(crate) fn record(&self, identity: &Identity) -> Option<IdentityRecord> {
        if identity.is_recorded() {
            return None;
        }
        self.describe(identity.number, |record| record)
    }

    /// Calls `tell` with the record of an identity for the log.
    ///
    /// It does so under the lock, before the record can change, so that the log gets changes in their order. `tell`
    /// must not call the registry.
    pub(crate) fn describe<T>(&self, number: u64, tell: impl FnOnce(IdentityRecord) -> T) -> Option<T> {
        let state = self.state();
        let person = state.people.get(&number)?;
        Some(tell(IdentityRecord {
            number,
            nick: person.nick.clone(),
            fold: person.fold.as_str().to_owned(),
            proof: person.proof.write(),
            bot: person.bot,
        }))
    }

    /// Returns the identity that holds a name, or else the offline account or the only offline machine user with that name;
    /// and the name as displayed. If several users of the machine had the name, it does not say who is meant.
    pub(crate) fn addressee(&self, nick: &Nick<'_>) -> Option<(Arc<Identity>, String)> {
        if let Some(present) = self.person(nick) {
            return Some(present);
        }
        let fold = nick.fold();
        let state = self.state();
        if let Some(person) = state.reserved.get(&fold).and_then(|number| state.people.get(number)) {
            return Some((Arc::clone(&person.identity), person.nick.clone()));
        }
        let is_meant =
            |person: &&Person| matches!(person.proof, Proof::User(..)) && person.identity.is_recorded();
        let mut meant = state.called(&fold).filter(is_meant);
        match (meant.next(), meant.next()) {
            (Some(person), None) => Some((Arc::clone(&person.identity), person.nick.clone())),
            _ => None,
        }
    }

    /// Returns the identity with that number, if a private message reaches it now or at its next login, and the name as
    /// displayed.
    pub(crate) fn addressee_by_id(&self, number: u64) -> Option<(Arc<Identity>, String)> {
        let state = self.state();
        let person = state.people.get(&number)?;
        let comes_again = person.identity.is_recorded() && !matches!(person.proof, Proof::Gone(_));
        let is_reached = !person.sessions.is_empty() || comes_again;
        is_reached.then(|| (Arc::clone(&person.identity), person.nick.clone()))
    }

    /// Returns the identity with that number, if it is here, and the name as displayed.
    pub(crate) fn person_by_id(&self, number: u64) -> Option<(Arc<Identity>, String)> {
        let state = self.state();
        let person = state.people.get(&number).filter(|person| !person.sessions.is_empty())?;
        Some((Arc::clone(&person.identity), person.nick.clone()))
    }

    /// Returns the identity with that name, online or offline, and the name as displayed.
    pub(crate) fn known(&self, nick: &Nick<'_>) -> Option<(Arc<Identity>, String)> {
        if let Some(addressee) = self.addressee(nick) {
            return Some(addressee);
        }
        let fold = nick.fold();
        let state = self.state();
        let person = state.called(&fold).max_by_key(|person| person.away_since)?;
        Some((Arc::clone(&person.identity), person.nick.clone()))
    }

    /// Returns the user id of this machine whose sessions an identity has, if they come over the Unix socket.
    pub(crate) fn machine_user(&self, number: u64) -> Option<u32> {
        match self.state().people.get(&number)?.proof {
            Proof::User(user, _) => Some(user),
            _ => None,
        }
    }

    /// Returns whether an identity is that of a user of this machine, with or without an account.
    pub(crate) fn belongs_to(&self, number: u64, user: u32) -> bool {
        match self.state().people.get(&number) {
            Some(person) => match person.proof {
                Proof::User(of, _) => of == user,
                _ => person.identity.profile().user == Some(user),
            },
            None => false,
        }
    }

    /// Returns the number of the identity that holds a name.
    pub(crate) fn holder(&self, fold: &Folded) -> Option<u64> {
        self.state().names.get(fold).copied()
    }

    /// Returns the identity that holds a name, and the name as displayed.
    pub(crate) fn person(&self, nick: &Nick<'_>) -> Option<(Arc<Identity>, String)> {
        let state = self.state();
        let person = &state.people[state.names.get(&nick.fold())?];
        Some((Arc::clone(&person.identity), person.nick.clone()))
    }

    /// Forgets the identities that have been offline for `linger` milliseconds, and the longest offline if there are
    /// more than `most`. Returns the numbers of those that the log knows.
    pub(crate) fn forget_guests(&self, now: u64, linger: u64, most: u64) -> Vec<u64> {
        // The daemon's clock has not run for `linger` yet, so nothing is too old.
        let Some(oldest) = now.checked_sub(linger) else { return self.state().forget_guests(0, most) };
        self.state().forget_guests(oldest, most)
    }
}

impl State {
    /// Returns the identities that have a name or had it last, online or offline.
    fn called(&self, fold: &Folded) -> impl Iterator<Item = &Person> {
        self.namesakes.of(fold).iter().filter_map(|number| self.people.get(number))
    }

    /// Lets a session into its rooms.
    fn come_into(&mut self, number: u64, entrance: &NewSession<'_>, rooms: &[u64], limits: &Limits) {
        for room in rooms {
            let Some(fold) = self.room_numbers.get(room).cloned() else { continue };
            let is_full = self.people[&number].rooms.len() as u64 >= limits.rooms_per_identity;
            let is_banned = self.rooms.get(&fold).is_some_and(|inhabited| {
                inhabited.room.is_banned(number, entrance.nick.as_str(), entrance.time)
            });
            if !is_full && !is_banned {
                self.join(
                    number,
                    Joins::WithLogin(entrance.peer),
                    &fold,
                    entrance.time,
                    limits.announce_members,
                );
            }
        }
    }

    /// Creates an identity that holds its name.
    pub(super) fn create(&mut self, entrance: &NewSession<'_>) -> Result<u64, Refusal> {
        self.check_free(entrance.nick, None)?;
        let (number, nick) = (entrance.number, entrance.nick);
        let identity = Identity::new(number, nick.as_str(), entrance.role, 0, false);
        let mut person = Person::new(identity, nick, entrance.proof.clone(), entrance.bot);
        person.since = entrance.time;
        self.names.insert(person.fold.clone(), number);
        self.confusable.add(&person.nick);
        self.proofs.insert(person.proof.clone(), number);
        self.insert_person(person);
        Ok(number)
    }

    /// Gives an identity a name, which may be its current one. Returns the line that tells the others; it is empty if
    /// they cannot have seen a change.
    pub(super) fn take_name(
        &mut self,
        number: u64,
        nick: &Nick<'_>,
        time: Timestamp,
    ) -> Result<Vec<u8>, Refusal> {
        let (old, is_held) = match self.people.get(&number) {
            Some(person) => (person.nick.clone(), self.names.get(&person.fold) == Some(&number)),
            None => return refuse(Code::NickNeeded, "say NICK first"),
        };
        let fold = nick.fold();
        if let Proof::User(user, _) = &self.people[&number].proof
            && let Some(other) = self.proofs.get(&Proof::User(*user, fold))
            && *other != number
            && self.people.get(other).is_some_and(|person| person.identity.is_recorded())
        {
            let text = format!("{nick} is somebody you have been before; connect anew to be that one again");
            return refuse(Code::NickTaken, &text);
        }
        if is_held {
            if old == nick.as_str() {
                return Ok(Vec::new());
            }
            // Its old name must not conflict with its new one.
            self.release_name(number);
        }
        let is_free = self.check_free(nick, Some(number));
        if is_free.is_ok() {
            self.set_nick(number, nick);
        }
        let person = self.people.get_mut(&number).expect("it was found above");
        let is_reserved = self.reserved.get(&person.fold) == Some(&number);
        if is_free.is_ok() || is_held {
            self.names.insert(person.fold.clone(), number);
            if !is_reserved {
                self.confusable.add(&person.nick);
            }
        }
        is_free?;
        if let Proof::User(user, fold) = &person.proof
            && *fold != person.fold
        {
            let proof = Proof::User(*user, person.fold.clone());
            let old = std::mem::replace(&mut person.proof, proof.clone());
            self.proofs.remove(&old);
            self.proofs.insert(proof, number);
        }
        if !is_held || old == nick.as_str() {
            return Ok(Vec::new());
        }
        Ok(presence(Body::Nick { nick: nick.as_str() }, &old, time))
    }

    /// Checks that an identity, or a new one if `by` is `None`, may take a name.
    pub(super) fn check_free(&self, nick: &Nick<'_>, by: Option<u64>) -> Result<(), Refusal> {
        if self.names.contains_key(&nick.fold()) {
            return match self.reserved.contains_key(&nick.fold()) {
                true => login_needed(nick),
                false => refuse(
                    Code::NickTaken,
                    &format!("{nick} is somebody else; take another name, or show its token"),
                ),
            };
        }
        match (self.reserved.get(&nick.fold()), by) {
            // An account may take its own name.
            (Some(account), Some(by)) if *account == by => return Ok(()),
            (Some(_), _) => return login_needed(nick),
            (None, _) => {}
        }
        if self.confusable.has_alike(nick.as_str()) {
            return refuse(
                Code::LooksAlike,
                &format!("{nick} can be taken for somebody who is here; take another name"),
            );
        }
        Ok(())
    }

    pub(super) fn release_name(&mut self, number: u64) {
        let person = &self.people[&number];
        if self.names.get(&person.fold) != Some(&number) {
            return;
        }
        self.names.remove(&person.fold);
        if self.reserved.get(&person.fold) != Some(&number) {
            self.confusable.remove(&person.nick);
        }
    }

    /// Adds an identity from its record in the log, offline since `now` milliseconds.
    pub(super) fn recall(&mut self, record: &IdentityRecord, delivered: u64, now: u64) {
        let (Some(proof), Ok(nick)) = (Proof::read(&record.proof), Nick::parse(&record.nick)) else { return };
        let identity = Identity::new(record.number, &record.nick, role_of(&proof), delivered, true);
        let person = Person::new(identity, &nick, proof.clone(), record.bot);
        self.proofs.insert(proof, record.number);
        self.insert_person(person);
        self.fade(record.number, now);
    }

    /// Inserts an identity, in the place of one of the same number if there is one.
    pub(super) fn insert_person(&mut self, person: Person) {
        let number = person.identity.number;
        let fold = person.fold.clone();
        if let Some(before) = self.people.insert(number, person) {
            self.namesakes.remove(&before.fold, number);
        }
        self.namesakes.add(&fold, number);
    }

    /// Changes the nickname of an identity without telling anybody.
    pub(super) fn set_nick(&mut self, number: u64, nick: &Nick<'_>) {
        let Some(person) = self.people.get_mut(&number) else { return };
        self.namesakes.remove(&person.fold, number);
        person.set_nick(nick);
        self.namesakes.add(&person.fold, number);
    }

    /// Removes an identity without a session and a name. Returns whether the log knows it.
    pub(super) fn remove_person(&mut self, number: u64) -> bool {
        let Some(person) = self.people.remove(&number) else { return false };
        self.namesakes.remove(&person.fold, number);
        self.away_count -= u64::from(person.is_fading);
        // A later identity of the same user and name may hold the proof.
        if self.proofs.get(&person.proof) == Some(&number) {
            self.proofs.remove(&person.proof);
        }
        person.identity.is_recorded()
    }

    /// Marks an identity without a session as offline. Its name becomes free, and it waits for its guest to return.
    pub(super) fn go_away(&mut self, number: u64, now: u64) {
        self.release_name(number);
        if let Some(person) = self.people.get(&number) {
            person.identity.set_presence(Presence::Online, None);
        }
        self.fade(number, now);
    }

    /// Notes that an identity is offline from now on. Unless it is kept, it will be forgotten.
    pub(super) fn fade(&mut self, number: u64, now: u64) {
        let Some(person) = self.people.get_mut(&number) else { return };
        person.away_since = Some(now);
        if !person.is_kept() {
            person.is_fading = true;
            self.away.push_back((number, now));
            self.away_count += 1;
        }
    }

    /// Forgets the identities that went offline before `oldest`, and the longest offline if there are more than
    /// `most`. Returns the numbers of those that the log knows.
    pub(super) fn forget_guests(&mut self, oldest: u64, most: u64) -> Vec<u64> {
        let mut forgotten = Vec::new();
        while let Some(&(number, since)) = self.away.front() {
            let is_away = self
                .people
                .get(&number)
                .is_some_and(|person| person.is_fading && person.away_since == Some(since));
            if is_away && since >= oldest && self.away_count <= most {
                break;
            }
            self.away.pop_front();
            if is_away && self.remove_person(number) {
                forgotten.push(number);
            }
        }
        forgotten
    }
}

/// Returns the role that a proof gives without an account.
fn role_of(proof: &Proof) -> Role {
    match proof {
        Proof::User(..) => Role::Member,
        Proof::Bot(_) => Role::Bot,
        Proof::Token(_) | Proof::Account(_) | Proof::Gone(_) => Role::Guest,
    }
}

fn login_needed<T>(nick: &Nick<'_>) -> Result<T, Refusal> {
    refuse(
        Code::LoginNeeded,
        &format!("{nick} has an account: come in with AUTH if it is you, else take another name"),
    )
}

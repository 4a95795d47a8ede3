//! Accounts in the registry: their names are reserved, online or offline.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use snug_protocol::{Body, Folded, Nick, Role, Timestamp};

use super::{Identity, Person, Proof, Registry, State, presence};
use crate::log::StoredAccount;
use crate::registry::peer::Peer;

impl Registry {
    /// Adds an account, or applies what has changed of it. A guest who has registered it keeps everything. Returns
    /// the sessions that must end because their guest held the account's name.
    pub(crate) fn set_account(
        &self,
        account: &StoredAccount,
        time: Timestamp,
        announce: u64,
    ) -> Vec<Arc<Peer>> {
        let Ok(nick) = Nick::parse(&account.name) else { return Vec::new() };
        let mut state = self.state();
        let (number, fold) = (account.number, nick.fold());
        let mut in_the_way = Vec::new();
        if state.reserved.get(&fold) != Some(&number) {
            if let Some(holder) = state.names.get(&fold).copied().filter(|holder| *holder != number) {
                // A guest who took the name in the meantime loses it to the account.
                in_the_way =
                    state.people.get(&holder).map(|person| person.sessions.clone()).unwrap_or_default();
                state.release_name(holder);
            }
            state.reserved.insert(fold.clone(), number);
            state.confusable.add(nick.as_str());
        }
        match state.people.get_mut(&number) {
            Some(person) => {
                person.identity.set_account(account);
                person.bot = account.role == Role::Bot;
                let proof = Proof::Account(number);
                let old = std::mem::replace(&mut person.proof, proof.clone());
                person.identity.is_recorded.store(true, Relaxed);
                let was_fading = std::mem::take(&mut person.is_fading);
                if old != proof {
                    state.proofs.remove(&old);
                    state.proofs.insert(proof, number);
                    state.away_count -= u64::from(was_fading);
                    state.rename_to_account(number, &nick, time, announce);
                }
            }
            None => {
                let identity = Identity::new(number, nick.as_str(), account.role, account.delivered, true);
                identity.set_account(account);
                let proof = Proof::Account(number);
                state.proofs.insert(proof.clone(), number);
                let person = Person::new(identity, &nick, proof, account.role == Role::Bot);
                state.insert_person(person);
            }
        }
        in_the_way
    }

    /// Removes the account of an identity. Returns its sessions, which must end.
    pub(crate) fn clear_account(&self, name: &Folded, now: u64) -> Vec<Arc<Peer>> {
        let mut state = self.state();
        let Some(number) = state.reserved.remove(name) else { return Vec::new() };
        let Some(person) = state.people.get_mut(&number) else { return Vec::new() };
        person.identity.clear_account();
        person.identity.is_recorded.store(false, Relaxed);
        let old = std::mem::replace(&mut person.proof, Proof::Gone(number));
        let (sessions, nick) = (person.sessions.clone(), person.nick.clone());
        state.proofs.remove(&old);
        if sessions.is_empty() {
            state.confusable.remove(&nick);
            state.fade(number, now);
        }
        for inhabited in state.rooms.values() {
            if inhabited.room.role_of(number).is_some() {
                if inhabited.room.owner() == number {
                    inhabited.room.set_persists(false);
                }
                inhabited.room.set_role(number, None);
            }
        }
        sessions
    }

    /// Returns the names of the accounts whose numbers are not in `numbers`.
    pub(crate) fn accounts_but(&self, numbers: &HashSet<u64>) -> Vec<Folded> {
        let state = self.state();
        let others = state.reserved.iter().filter(|(_, number)| !numbers.contains(number));
        others.map(|(fold, _)| fold.clone()).collect()
    }

    /// Returns the account of that name.
    pub(crate) fn account(&self, name: &Nick<'_>) -> Option<Arc<Identity>> {
        let state = self.state();
        let number = state.reserved.get(&name.fold())?;
        state.people.get(number).map(|person| Arc::clone(&person.identity))
    }

    /// Makes the rooms of a new account persistent: they stay when everybody has left.
    pub(crate) fn keep_rooms_of(&self, number: u64) {
        for inhabited in self.state().rooms.values() {
            if inhabited.room.owner() == number {
                inhabited.room.set_persists(true);
            }
        }
    }
}

impl State {
    /// Gives a guest who has registered the name of the account, and tells the others if the name is different.
    fn rename_to_account(&mut self, number: u64, nick: &Nick<'_>, time: Timestamp, announce: u64) {
        let person = &self.people[&number];
        let (old, old_fold) = (person.nick.clone(), person.fold.clone());
        let is_here = self.names.get(&old_fold) == Some(&number);
        if is_here {
            self.names.remove(&old_fold);
            // The account's own name is in the index already, and stays there.
            self.confusable.remove(&old);
            self.names.insert(nick.fold(), number);
        }
        self.set_nick(number, nick);
        if is_here && old != nick.as_str() {
            let line = presence(Body::Nick { nick: nick.as_str() }, &old, time);
            self.tell_rename(number, Some(&old_fold), &line, None, announce);
        }
    }
}

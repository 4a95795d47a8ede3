//! Watches: the names whose presence a session wants to know, whether they share a room or not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use snug_protocol::{Body, Code, Folded, Nick, ServerLine, TagBuilder, Timestamp, limits};

use super::lists::Present;
use super::{Registry, State, refuse, tell_once};
use crate::refusal::Refusal;
use crate::registry::peer::Peer;

/// Who watches which names.
#[derive(Default)]
pub(super) struct Watches {
    by_name: HashMap<Folded, HashMap<u64, Arc<Peer>>>,
    /// The names of each session, as it gave them and folded, by its number.
    by_peer: HashMap<u64, Vec<(String, Folded)>>,
}

impl Watches {
    /// Returns the sessions that watch a name.
    fn of(&self, name: &Folded) -> impl Iterator<Item = &Arc<Peer>> {
        self.by_name.get(name).into_iter().flat_map(HashMap::values)
    }

    fn remove(&mut self, peer: u64, name: &Folded) {
        if let Some(watchers) = self.by_name.get_mut(name) {
            watchers.remove(&peer);
            if watchers.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// Forgets what a session watches.
    pub(super) fn end(&mut self, peer: u64) {
        for (_, name) in self.by_peer.remove(&peer).unwrap_or_default() {
            self.remove(peer, &name);
        }
    }
}

/// A watched name, and who has it, if anybody can be seen under it.
type Watched = (String, Option<Present>);

impl Registry {
    /// Lets a session watch more names, and returns who has them.
    ///
    /// # Errors
    /// They would be too many.
    pub(crate) fn watch(&self, peer: &Arc<Peer>, nicks: &[Nick<'_>]) -> Result<Vec<Watched>, Refusal> {
        let mut state = self.state();
        if !state.peers.contains_key(&peer.id) {
            return Ok(Vec::new());
        }
        let folds: Vec<Folded> = nicks.iter().map(Nick::fold).collect();
        let watches = &mut state.watches;
        let own = watches.by_peer.entry(peer.id).or_default();
        let mut names: HashSet<&Folded> = own.iter().map(|(_, fold)| fold).collect();
        names.extend(&folds);
        if names.len() > limits::WATCHED {
            let text = format!(
                "a session watches at most {} names; take some away with the tag clear",
                limits::WATCHED
            );
            return refuse(Code::TooMany, &text);
        }
        for (nick, fold) in nicks.iter().zip(&folds) {
            if !own.iter().any(|(_, other)| other == fold) {
                own.push((nick.as_str().to_owned(), fold.clone()));
                watches.by_name.entry(fold.clone()).or_default().insert(peer.id, Arc::clone(peer));
            }
        }
        Ok(nicks.iter().zip(&folds).map(|(nick, fold)| state.watched(nick.as_str(), fold)).collect())
    }

    /// Lets a session watch these names no more; all of them if there are none.
    pub(crate) fn unwatch(&self, peer: &Peer, nicks: &[Nick<'_>]) {
        let watches = &mut self.state().watches;
        if nicks.is_empty() {
            return watches.end(peer.id);
        }
        for fold in nicks.iter().map(Nick::fold) {
            watches.remove(peer.id, &fold);
            if let Some(own) = watches.by_peer.get_mut(&peer.id) {
                own.retain(|(_, other)| *other != fold);
            }
        }
    }

    /// Returns what a session watches.
    pub(crate) fn watched(&self, peer: &Peer) -> Vec<Watched> {
        let state = self.state();
        let own = state.watches.by_peer.get(&peer.id);
        own.into_iter().flatten().map(|(nick, fold)| state.watched(nick, fold)).collect()
    }
}

impl State {
    fn watched(&self, nick: &str, fold: &Folded) -> Watched {
        let person = self.names.get(fold).and_then(|number| self.people.get(number));
        match person.filter(|person| !person.hearing.is_empty()) {
            Some(person) => (person.nick.clone(), Some(person.present(None))),
            None => (nick.to_owned(), None),
        }
    }

    /// Sends a line to the sessions that watch a name and are not among those who were told. Returns how many watch it.
    pub(super) fn tell_watchers(&self, name: &Folded, line: &[u8], told: &mut HashSet<u64>) -> usize {
        self.watches.of(name).map(|peer| tell_once(peer, line, told)).count()
    }

    /// Tells those who watch its name that an identity can be seen now.
    pub(super) fn tell_coming(&self, number: u64, time: Timestamp) {
        let Some(person) = self.people.get(&number) else { return };
        if self.watches.of(&person.fold).next().is_none() {
            return;
        }
        let profile = person.identity.profile();
        let mut tags = TagBuilder::default();
        tags.display("time", Some(time));
        profile.describe(number, person.bot, &mut tags);
        let text = profile.presence_text.as_deref().map(Into::into);
        let mut line = Vec::new();
        ServerLine::new(Body::Status { status: profile.presence.word(), text })
            .with_tags(tags.tags())
            .with_from(&person.nick)
            .write(&mut line);
        self.tell_watchers(&person.fold, &line, &mut HashSet::new());
    }
}

//! Who may do what: each action of the table as each role, in each kind of room.

use snug_protocol::envelope::{ClientKey, encode_public_key};
use snug_protocol::{Action, Role};

use super::authority_tests::{PASSWORD, code_of};
use super::tests::World;
use super::*;

/// The room that somebody tries things in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// As a room is made.
    Public,
    /// One that is not listed, and that they have joined.
    Hidden,
    /// An invite-only one, and they are on its list.
    Private,
    /// An invite-only one, and they are not on its list.
    Outside,
    /// One in which they are muted.
    Muted,
    /// One in which they have just said something, and must wait.
    Slow,
    /// One that was closed.
    Closed,
}

/// One world for each: what somebody of a role is answered who tries something in a room.
fn try_as(role: Role, action: Action, place: Place) -> String {
    let mut world = World::new();
    let mut owner = world.keyed_member("owner");
    let mut target = match action {
        Action::Auth => world.member("target"),
        _ => world.keyed_member("target"),
    };
    let mut guest = world.enter("victim");
    for line in ["JOIN #room", "MSG #room of the owner", "ROLE #room target member"] {
        world.say(&mut owner, line);
    }
    match place {
        Place::Hidden => world.say(&mut owner, "SET #room access hidden"),
        Place::Private | Place::Outside => world.say(&mut owner, "SET #room access invite"),
        _ => {}
    }
    if matches!(place, Place::Private | Place::Outside) {
        world.say(&mut owner, "INVITE #room victim");
    }
    world.say(&mut guest, "JOIN #room");
    world.say(&mut target, "JOIN #room");
    let mut person = match role {
        Role::Nobody => world.connect(Origin::Tcp([127, 0, 0, 1].into())),
        Role::Guest => world.enter("tester"),
        Role::Owner => owner,
        Role::Operator => world.operator(),
        Role::Bot | Role::Member | Role::Moderator => world.keyed_member("tester"),
    };
    if role == Role::Bot {
        let mut root = world.connect(Origin::Unix(world.core.operator));
        world.say(&mut root, "NICK other-root");
        assert!(world.ask(&mut root, "ROLE * tester bot").contains("OK ROLE"));
    }
    if role == Role::Moderator {
        let mut root = world.connect(Origin::Unix(world.core.operator));
        world.say(&mut root, "NICK other-root");
        assert!(world.ask(&mut root, "ROLE #room tester moderator").contains("OK ROLE"));
    }
    let mut root = world.connect(Origin::Unix(world.core.operator));
    world.say(&mut root, "NICK last-root");
    if place == Place::Private && !matches!(role, Role::Nobody | Role::Owner | Role::Moderator) {
        let list = if role == Role::Guest { "INVITE #room tester" } else { "ROLE #room tester member" };
        let list = if role == Role::Operator { "ROLE #room root member" } else { list };
        world.say(&mut root, list);
    }
    let own_name = match role {
        Role::Owner => "owner",
        Role::Operator => "root",
        _ => "tester",
    };
    let _folder = world.keep_files();
    let theirs = (action == Action::CancelOthers).then(|| {
        let sender = if role == Role::Owner { &mut guest } else { &mut target };
        world.send_file(sender, "#room", "theirs.txt", b"theirs")
    });
    if role > Role::Nobody {
        world.say(&mut person, "JOIN #room");
        world.say(&mut person, "REACT #room 1 +1");
        if place == Place::Slow {
            world.say(&mut root, "SET #room slow 1h");
        }
        world.say(&mut person, "MSG #room of my own");
    }
    if role == Role::Operator
        && matches!(
            action,
            Action::Password | Action::Unregister | Action::Key | Action::Token | Action::ChangeProfile
        )
    {
        // An operator over the Unix socket has an account only if he makes one.
        let key = encode_public_key(&ClientKey::from_seed(&[6; 32]).expect("a key").public_key());
        world.say(&mut person, &format!("@key={key} REGISTER root"));
    }
    let heard = person.heard();
    let own = heard.lines().find(|line| line.contains(" OK MSG #room"));
    let own = own.and_then(|line| line.strip_prefix("@id=")?.split(';').next()).unwrap_or("1").to_owned();
    let others = if role == Role::Owner {
        // A message of somebody else.
        world.say(&mut guest, "MSG #room of the victim");
        let heard = guest.heard();
        let line = heard.lines().find(|line| line.contains(" OK MSG #room")).expect("it was said").to_owned();
        line.strip_prefix("@id=").and_then(|rest| rest.split(';').next()).expect("an id").to_owned()
    } else {
        // The owner's ROLE is an entry as well.
        "1".to_owned()
    };
    let key = encode_public_key(&ClientKey::from_seed(&[5; 32]).expect("a key").public_key());
    if matches!(action, Action::UnbanInRoom | Action::UnbanOnServer) {
        let place = if action == Action::UnbanInRoom { "#room" } else { "*" };
        let mut root = world.connect(Origin::Unix(world.core.operator));
        world.say(&mut root, "NICK third-root");
        assert!(world.ask(&mut root, &format!("BAN {place} victim")).contains("OK BAN"));
    }
    match place {
        Place::Muted => {
            let heard = world.ask(&mut root, &format!("MUTE #room {own_name} 1h"));
            assert!(heard.contains("OK MUTE") || role >= Role::Owner || role == Role::Nobody, "{heard}");
        }
        Place::Closed => assert!(world.ask(&mut root, "CLOSE #room").contains("OK CLOSE")),
        _ => {}
    }
    person.heard();
    let line = match action {
        Action::File => "FILE OFFER #room 6 - mine.txt".to_owned(),
        Action::Commands => "COMMANDS".to_owned(),
        Action::Bot => "BOT LIST".to_owned(),
        Action::CancelOthers => format!("FILE CANCEL {}", theirs.unwrap_or_default()),
        Action::Hello => "PING hello-is-only-first".to_owned(),
        Action::Nick => format!("NICK {own_name}"),
        Action::Quit => "QUIT".to_owned(),
        Action::Ping => "PING 1".to_owned(),
        Action::Pong => "PONG".to_owned(),
        Action::Help => "HELP".to_owned(),
        Action::Info => "INFO".to_owned(),
        Action::Msg => "MSG #room hi".to_owned(),
        Action::Priv => "PRIV target hi".to_owned(),
        Action::Typing => "TYPING #room on".to_owned(),
        Action::Join => "JOIN #other".to_owned(),
        Action::Leave => "LEAVE #room".to_owned(),
        Action::Rooms => "ROOMS".to_owned(),
        Action::Who => "WHO #room".to_owned(),
        Action::Watch => "WATCH moderator".to_owned(),
        Action::Topic => "TOPIC #room things".to_owned(),
        Action::ShowSettings => "SET #room".to_owned(),
        Action::ChangeSettings => "SET #room slow 5s".to_owned(),
        Action::Edit => format!("EDIT #room {own} hello"),
        Action::Delete => format!("DELETE #room {own}"),
        Action::DeleteOthers => format!("DELETE #room {others}"),
        Action::React => "REACT #room 1 :tada:".to_owned(),
        Action::Unreact => "UNREACT #room 1 +1".to_owned(),
        Action::History => "HISTORY #room LATEST".to_owned(),
        Action::Search => "SEARCH #room hello".to_owned(),
        Action::Sync => "SYNC 0".to_owned(),
        Action::Ack => "ACK 1".to_owned(),
        Action::Read => "READ #room 1".to_owned(),
        Action::Inbox => "INBOX".to_owned(),
        Action::Register => format!("@key={key} REGISTER somebody"),
        Action::Auth => format!("AUTH PASSWORD target {PASSWORD}"),
        Action::Password => format!("PASSWORD {PASSWORD} two"),
        Action::PasswordOfOthers => format!("@account=target PASSWORD {PASSWORD} two"),
        Action::Unregister => format!("UNREGISTER {own_name}"),
        Action::UnregisterOthers => "UNREGISTER target".to_owned(),
        Action::Key => format!("KEY ADD {key} laptop"),
        Action::Token => "TOKEN ADD script".to_owned(),
        Action::InviteToServer => "INVITE".to_owned(),
        Action::InviteToRoom => "INVITE #room target".to_owned(),
        Action::Status => "STATUS busy".to_owned(),
        Action::ShowProfile => "PROFILE target".to_owned(),
        Action::ChangeProfile => format!("PROFILE {own_name} colour #123456"),
        Action::CloseRoom => "CLOSE #room goodbye".to_owned(),
        Action::CloseRoomsOfGuests => "CLOSE *".to_owned(),
        Action::KickFromRoom => "KICK #room victim".to_owned(),
        Action::KickFromServer => "KICK * victim".to_owned(),
        Action::BanFromRoom => "BAN #room victim".to_owned(),
        Action::BanFromServer => "BAN * victim".to_owned(),
        Action::UnbanInRoom => "UNBAN #room victim".to_owned(),
        Action::UnbanOnServer => "UNBAN * victim".to_owned(),
        Action::MuteInRoom => "MUTE #room victim 5m".to_owned(),
        Action::MuteOnServer => "MUTE * victim 5m".to_owned(),
        Action::ShowRole => "ROLE #room".to_owned(),
        Action::AdmitToRoom => "ROLE #room victim member".to_owned(),
        Action::ChangeRoleInRoom => "ROLE #room victim moderator".to_owned(),
        Action::ChangeRoleOnServer => "ROLE * target bot".to_owned(),
        Action::Stats => "STATS".to_owned(),
        Action::Sessions => "SESSIONS".to_owned(),
        Action::Accounts => "ACCOUNTS".to_owned(),
        Action::Announce => "ANNOUNCE hear, hear".to_owned(),
        Action::Audit => "AUDIT LATEST".to_owned(),
        Action::Reload => "RELOAD".to_owned(),
        Action::Shutdown => "SHUTDOWN 1h".to_owned(),
        Action::Backup => "BACKUP /nowhere/copy.db".to_owned(),
    };
    world.ask(&mut person, &line)
}

/// The codes that mean that something is not for somebody, or not there for them.
const NOT_ALLOWED: [&str; 9] = [
    "denied",
    "login-needed",
    "nick-needed",
    "no-such-room",
    "out-of-scope",
    "no-such-entry",
    "no-such-file",
    "not-in-room",
    "muted",
];

fn check(role: Role, action: Action, place: Place, expected: &[&str]) {
    let heard = try_as(role, action, place);
    let code = code_of(&heard);
    let refused = code.filter(|code| NOT_ALLOWED.contains(code) || *code == "slow-down");
    let what = format!("{action:?} as {role} in {place:?}: {heard}");
    // A PONG has no answer; everything else is answered either way.
    assert!(!heard.is_empty() || action == Action::Pong, "{what}");
    match refused {
        Some(code) => assert!(expected.contains(&code), "{what}"),
        None => {
            assert!(expected.is_empty(), "{what}");
            if place == Place::Outside
                && role == Role::Operator
                && matches!(action, Action::History | Action::Search)
            {
                assert_eq!(heard.lines().count(), 1, "what was said there is not theirs: {what}");
            }
            let has_other_reason = matches!(code, Some("too-late" | "unavailable"));
            assert!(heard.contains("OK ") || has_other_reason || action == Action::Pong, "{what}");
        }
    }
}

/// How an action is refused to a role that the table does not give it.
fn by_the_table(role: Role, action: Action) -> &'static [&'static str] {
    match role >= action.least() {
        true => &[],
        false => &["denied", "login-needed", "nick-needed", "no-such-room"],
    }
}

#[test]
fn every_verb_as_every_role_is_as_the_table_says() {
    for action in Action::ALL {
        for role in Role::ALL {
            check(role, *action, Place::Public, by_the_table(role, *action));
        }
    }
}

/// What is about a room that one is in.
const IN_A_ROOM: [Action; 32] = [
    Action::Msg,
    Action::Typing,
    Action::Leave,
    Action::Who,
    Action::Topic,
    Action::ShowSettings,
    Action::ChangeSettings,
    Action::Edit,
    Action::Delete,
    Action::DeleteOthers,
    Action::React,
    Action::Unreact,
    Action::History,
    Action::Search,
    Action::Read,
    Action::File,
    Action::CancelOthers,
    Action::InviteToRoom,
    Action::CloseRoom,
    Action::KickFromRoom,
    Action::BanFromRoom,
    Action::UnbanInRoom,
    Action::MuteInRoom,
    Action::ShowRole,
    Action::AdmitToRoom,
    Action::ChangeRoleInRoom,
    // And what is not, to see that a room makes no difference there.
    Action::Nick,
    Action::Priv,
    Action::Join,
    Action::Sync,
    Action::Inbox,
    Action::Status,
];

fn is_about_room(action: Action) -> bool {
    use Action::{Inbox, Join, Nick, Priv, Status, Sync};
    !matches!(action, Nick | Priv | Join | Sync | Inbox | Status)
}

/// Tries everything in a kind of room as everybody who has a name.
fn check_all(place: Place, expected: impl Fn(Role, Action) -> &'static [&'static str]) {
    for action in IN_A_ROOM {
        for role in [Role::Guest, Role::Bot, Role::Member, Role::Moderator, Role::Owner, Role::Operator] {
            check(role, action, place, expected(role, action));
        }
    }
}

#[test]
fn whoever_is_in_a_hidden_or_private_room_may_what_the_table_says() {
    for place in [Place::Hidden, Place::Private] {
        check_all(place, |role, action| match action {
            // Whoever is on the list brings others.
            Action::InviteToRoom => &[],
            _ => by_the_table(role, action),
        });
    }
}

#[test]
fn a_private_room_is_not_there_for_others_and_an_operator_only_keeps_order_in_it() {
    check_all(Place::Outside, |role, action| match role {
        _ if !is_about_room(action) => &[],
        Role::Moderator | Role::Owner => by_the_table(role, action),
        Role::Operator => match action {
            Action::Msg | Action::Edit | Action::React | Action::File => &["no-such-room"],
            Action::Topic | Action::Typing | Action::Leave => &["not-in-room"],
            Action::Read | Action::Unreact => &["no-such-entry"],
            Action::CancelOthers => &["no-such-file"],
            _ => &[],
        },
        _ if action == Action::CancelOthers => &["no-such-file"],
        _ => &["no-such-room"],
    });
}

#[test]
fn who_is_muted_has_no_word_that_others_see() {
    check_all(Place::Muted, |role, action| match action {
        // Nobody mutes an operator.
        _ if role == Role::Operator => by_the_table(role, action),
        Action::Nick if role == Role::Guest => &["muted"],
        // What is taken back, looked at, or kept to oneself. A TYPING goes nowhere, without a word about it.
        Action::Typing
        | Action::Leave
        | Action::Who
        | Action::ShowSettings
        | Action::Delete
        | Action::DeleteOthers
        | Action::Unreact
        | Action::History
        | Action::Search
        | Action::Read
        | Action::CancelOthers
        | Action::ShowRole => by_the_table(role, action),
        _ if !is_about_room(action) => &[],
        _ => &["muted", "denied"],
    });
}

#[test]
fn in_a_slow_room_one_waits_and_a_closed_one_is_gone() {
    check_all(Place::Slow, |role, action| match action {
        Action::Msg | Action::Topic | Action::Edit | Action::React | Action::File
            if role < Role::Moderator =>
        {
            &["slow-down"]
        }
        _ => by_the_table(role, action),
    });
    check_all(Place::Closed, |_, action| match action {
        Action::CancelOthers => &["no-such-file"],
        _ if is_about_room(action) => &["no-such-room"],
        _ => &[],
    });
}

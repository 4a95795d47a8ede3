use super::*;
use crate::{ContentHash, FileName, UploadHandle};
use proptest::prelude::*;

pub(super) fn parse(line: &str) -> Result<Command<'_>, Code> {
    let line = Line::parse(line).expect("the grammar holds");
    Request::parse(&line).map(|request| request.command).map_err(|error| error.code)
}

#[test]
fn text_is_the_rest_of_the_line_verbatim() {
    let Ok(Command::Msg { text, .. }) = parse("msg #lobby :wave:  two\\nlines ") else { panic!("a message") };
    assert_eq!(text, ":wave:  two\nlines ");
}

#[test]
fn each_misuse_has_its_code() {
    for (line, code) in [
        ("FOO bar", Code::UnknownVerb),
        ("MSG", Code::MissingParameter),
        ("MSG ", Code::MissingParameter),
        ("MSG  #lobby hi", Code::SurplusParameter),
        ("MSG #lobby", Code::NoText),
        ("MSG #lobby ", Code::NoText),
        ("MSG lobby hi", Code::BadRoom),
        ("PRIV #lobby hi", Code::BadNick),
        ("NICK", Code::MissingParameter),
        ("NICK a b", Code::SurplusParameter),
        ("NICK bob\u{202e}", Code::BadNick),
        ("INFO x", Code::SurplusParameter),
        ("TYPING #lobby maybe", Code::BadParameter),
        ("HELP FOO", Code::BadParameter),
        ("@re=x MSG #lobby hi", Code::BadTag),
        ("@key=a\\sb MSG #lobby hi", Code::BadTag),
        ("@key MSG #lobby hi", Code::BadTag),
        ("@clear TOPIC #lobby hi", Code::BadTag),
        ("@replace=a/b MSG #lobby hi", Code::BadTag),
        ("@since=yesterday NICK bob", Code::BadTag),
        ("HISTORY #lobby", Code::MissingParameter),
        ("HISTORY #lobby NEXT", Code::BadParameter),
        ("HISTORY #lobby LATEST 0", Code::BadParameter),
        ("HISTORY #lobby LATEST 5 5", Code::SurplusParameter),
        ("HISTORY #lobby BEFORE -5", Code::BadParameter),
        ("HISTORY #lobby SINCE 1h", Code::BadParameter),
        ("SYNC", Code::MissingParameter),
        ("SEARCH #lobby", Code::NoText),
        ("@limit=x SEARCH * hi", Code::BadParameter),
        ("EDIT #lobby 7", Code::NoText),
        ("EDIT #lobby hi there", Code::BadParameter),
        ("REACT #lobby 7 a,b", Code::BadParameter),
        ("UNREACT #lobby 7", Code::MissingParameter),
        ("SET #lobby keep", Code::MissingParameter),
        ("REGISTER alice", Code::MissingParameter),
        ("REGISTER #alice secret", Code::BadNick),
        ("AUTH alice secret", Code::BadParameter),
        ("AUTH KEY alice x", Code::MissingParameter),
        ("AUTH PASSWORD alice", Code::NoText),
        ("AUTH TOKEN a b", Code::SurplusParameter),
        ("KEY ADD x", Code::MissingParameter),
        ("KEY ADD x a/b", Code::BadParameter),
        ("@may=shout TOKEN ADD x", Code::BadTag),
        ("@expires=soon TOKEN ADD x", Code::BadTag),
        ("TOKEN MAKE x", Code::BadParameter),
        ("INVITE #ops", Code::MissingParameter),
        ("STATUS asleep", Code::BadParameter),
        ("@clear PROFILE alice", Code::MissingParameter),
        ("KICK ops bob", Code::BadRoom),
        ("MUTE * bob soon", Code::BadParameter),
        ("ROLE * bob king", Code::BadParameter),
        ("ROLE * bob guest", Code::BadParameter),
        ("AUDIT", Code::MissingParameter),
        ("AUDIT BEFORE x", Code::BadParameter),
        ("SHUTDOWN later", Code::BadParameter),
        ("ANNOUNCE", Code::NoText),
    ] {
        assert_eq!(parse(line), Err(code), "{line:?}");
    }
    assert_eq!(parse(&format!("MSG #lobby {}", "x".repeat(limits::TEXT + 1))), Err(Code::TooLong));
    assert!(parse(&format!("MSG #lobby {}", "x".repeat(limits::TEXT))).is_ok());
    assert_eq!(parse(&format!("@+x={} INFO", "x".repeat(limits::TAGS))), Err(Code::BadTag));
}

#[test]
fn only_the_tags_that_are_relayed_are_kept_and_untouched() {
    let line = "@id=9;time=x;bot;title=a\\sb;+mood;unknown=1;+x=\\:;key=k.1 MSG #lobby hi";
    let Ok(Command::Msg { tags, .. }) = parse(line) else { panic!("a message") };
    assert_eq!(tags.relayed, "title=a\\sb;+mood;+x=\\:");
    assert_eq!(tags.key.as_deref(), Some("k.1"));
}

#[test]
fn the_count_of_bytes_is_a_number_within_the_limit() {
    let bytes = |line| announced_bytes(Line::parse(line).expect("a line").tags);
    assert_eq!(bytes("MSG"), Ok(None));
    assert_eq!(bytes("@bytes=0 FOO"), Ok(Some(0)));
    assert_eq!(bytes("@bytes=65535 FOO"), Ok(Some(65_535)));
    for bad in ["@bytes=65536 FOO", "@bytes=-1 FOO", "@bytes FOO", "@bytes=99999999999999999999 FOO"] {
        assert_eq!(bytes(bad), Err(Code::TooLarge), "{bad:?}");
    }
}

fn room() -> impl Strategy<Value = RoomName<'static>> + Clone {
    "#[a-z\u{e9}][a-z0-9._-]{0,8}".prop_map(|name| RoomName::parse(&name).expect("a room").into_owned())
}

fn nick() -> impl Strategy<Value = Nick<'static>> + Clone {
    "[a-zA-Z\u{e9}][a-z0-9._-]{0,8}".prop_map(|name| Nick::parse(&name).expect("a nick").into_owned())
}

fn who() -> impl Strategy<Value = Option<PersonId>> + Clone {
    prop::option::of(any::<u64>().prop_map(PersonId))
}

fn target() -> impl Strategy<Value = Target<'static>> + Clone {
    let person = (nick(), who()).prop_map(|(nick, who)| Target::Nick(nick).with_who(who));
    prop_oneof![room().prop_map(Target::Room), person]
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    "[ a-z:\\\\\n\u{1f600}]{1,20}".prop_map(Cow::Owned)
}

fn cursor() -> impl Strategy<Value = Cursor> {
    (prop::option::of(any::<u64>()), 0..=Cursor::LARGEST)
        .prop_map(|(log, id)| Cursor { log: log.map(crate::LogName), id })
}

fn limit() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(1u64..9_999)
}

fn page() -> impl Strategy<Value = Page> {
    prop_oneof![
        Just(Page::Latest),
        cursor().prop_map(Page::Before),
        cursor().prop_map(Page::After),
        (0i64..1 << 45).prop_map(|millis| Page::Until(Timestamp::from_millis(millis))),
        cursor().prop_map(Page::Around),
        (0i64..1 << 45).prop_map(|millis| Page::Since(Timestamp::from_millis(millis))),
    ]
}

fn message_tags() -> impl Strategy<Value = MessageTags<'static>> {
    let key = prop::option::of("[A-Za-z0-9._-]{1,64}".prop_map(Cow::Owned));
    let relayed = prop_oneof![Just(""), Just("title=a\\sb"), Just("+mood;+x=1")].prop_map(Cow::Borrowed);
    let replace = prop::option::of("[A-Za-z0-9._-]{1,64}".prop_map(Cow::Owned));
    (key, prop::option::of(cursor()), replace, any::<bool>(), relayed)
        .prop_map(|(key, re, replace, verbatim, relayed)| MessageTags { key, re, replace, verbatim, relayed })
}

fn command() -> impl Strategy<Value = Command<'static>> {
    let target = target();
    let change =
        prop_oneof![Just(TopicChange::Ask), Just(TopicChange::Clear), text().prop_map(TopicChange::Set)];
    let key = || prop::option::of("[a-z0-9]{1,8}".prop_map(Cow::Owned));
    prop_oneof![
        (nick(), prop::option::of("[a-zA-Z0-9 ;]{1,32}".prop_map(Secret::from)), entrance())
            .prop_map(|(nick, token, entrance)| Command::Nick { nick, token, entrance }),
        prop::option::of(text()).prop_map(|text| Command::Quit { text }),
        Just(Command::Ping { label: Some("7") }),
        Just(Command::Pong { label: None }),
        Just(Command::Help { verb: Some(Verb::Msg) }),
        Just(Command::Info),
        (room(), text(), message_tags()).prop_map(|(room, text, tags)| Command::Msg { room, text, tags }),
        (nick(), who(), text(), message_tags()).prop_map(|(nick, who, text, tags)| Command::Priv {
            nick,
            who,
            text,
            tags
        }),
        (target.clone(), prop_oneof![Just(Switch::On), Just(Switch::Off)])
            .prop_map(|(target, switch)| Command::Typing { target, switch }),
        room().prop_map(|room| Command::Join { room }),
        (room(), prop::option::of(text())).prop_map(|(room, text)| Command::Leave { room, text }),
        (room(), prop::option::of(text()))
            .prop_map(|(room, reason)| Command::Close { place: RoomOrServer::Room(room), reason }),
        Just(Command::Rooms),
        prop::option::of(target.clone()).prop_map(|of| Command::Who { of }),
        (room(), change, key()).prop_map(|(room, change, key)| Command::Topic { room, change, key }),
        (room(), prop::option::of(text().prop_map(|text| ("description", text))))
            .prop_map(|(room, change)| Command::Set { room, change }),
        (target.clone(), cursor(), text(), key()).prop_map(|(target, id, text, key)| Command::Edit {
            target,
            id,
            text,
            key
        }),
        (target.clone(), cursor()).prop_map(|(target, id)| Command::Delete { target, id }),
        (target.clone(), cursor()).prop_map(|(target, id)| Command::Reactions { target, id }),
        (target.clone(), cursor()).prop_map(|(target, id)| Command::React {
            target,
            id,
            reaction: "\u{1f44d}"
        }),
        (target.clone(), cursor()).prop_map(|(target, id)| Command::Unreact { target, id, reaction: "+1" }),
        (target.clone(), page(), limit(), any::<bool>()).prop_map(|(target, page, limit, only_messages)| {
            Command::History { target, page, limit, only_messages }
        }),
        (prop::collection::vec(nick(), 0..4), any::<bool>())
            .prop_map(|(nicks, clear)| Command::Watch { nicks, clear }),
        (prop::option::of(target.clone()), text(), prop::option::of(cursor()), limit())
            .prop_map(|(target, query, before, limit)| Command::Search { target, query, before, limit }),
        (cursor(), limit()).prop_map(|(cursor, limit)| Command::Sync { cursor, limit }),
        cursor().prop_map(|cursor| Command::Ack { cursor }),
        (target, cursor(), any::<bool>()).prop_map(|(target, id, receipt)| Command::Read {
            target,
            id,
            receipt
        }),
        (prop::option::of(cursor()), limit()).prop_map(|(before, limit)| Command::Inbox { before, limit }),
        text().prop_map(|path| Command::Backup { path }),
        about_accounts(),
        authority(),
        files(),
        prop::option::of(room()).prop_map(|room| Command::Commands { room }),
        prop::sample::select(vec![
            BotOrder::List,
            BotOrder::Enable("roll"),
            BotOrder::Disable("roll"),
            BotOrder::Restart("roll"),
            BotOrder::Logs("roll"),
        ])
        .prop_map(|order| Command::Bot { order }),
    ]
}

fn files() -> impl Strategy<Value = Command<'static>> {
    let size = || prop::option::of(any::<u64>());
    let hash = || any::<[u8; 32]>().prop_map(ContentHash);
    let of = || {
        prop_oneof![
            cursor().prop_map(FileRef::Entry),
            (0..=Cursor::LARGEST).prop_map(|number| FileRef::Upload(UploadHandle(number)))
        ]
    };
    let kind = prop::option::of(Just(Cow::Borrowed("image/svg+xml")));
    let key = prop::option::of("[a-z0-9]{1,8}".prop_map(Cow::Owned));
    let relayed = prop_oneof![Just(""), Just("caption=a\\sb"), Just("+width=3;+thumb=AA==")];
    let more = (prop::option::of(cursor()), relayed.prop_map(Cow::Borrowed));
    let offer = (target(), size(), prop::option::of(hash()), "[ a-z.\u{e9}-]{0,20}x", kind, key, more)
        .prop_map(|(target, size, hash, name, kind, key, (re, relayed))| {
            let name = FileName::parse(&name).expect("a name").into_owned();
            FileCommand::Offer(FileOffer { target, size, hash, name, kind, key, re, relayed })
        });
    let list = (prop::option::of(target()), prop::option::of(cursor()), limit())
        .prop_map(|(of, before, limit)| FileCommand::List { of, before, limit });
    let file = prop_oneof![
        offer,
        list,
        (0..=Cursor::LARGEST, any::<u64>())
            .prop_map(|(handle, offset)| FileCommand::Put { handle: UploadHandle(handle), offset }),
        (of(), any::<u64>(), hash()).prop_map(|(of, size, hash)| FileCommand::Done { of, size, hash }),
        cursor().prop_map(|id| FileCommand::Accept { id }),
        cursor().prop_map(|id| FileCommand::Decline { id }),
        of().prop_map(|of| FileCommand::Cancel { of }),
        (cursor(), any::<u64>(), any::<u64>()).prop_map(|(id, offset, count)| FileCommand::Get {
            id,
            offset,
            count
        }),
        cursor().prop_map(|id| FileCommand::State { id }),
    ];
    file.prop_map(Command::File)
}

fn period() -> impl Strategy<Value = Option<Period>> {
    prop::option::of((1u64..1 << 20).prop_map(Period::from_secs))
}

fn entrance() -> impl Strategy<Value = Entrance> {
    let rooms = prop::option::of(prop::collection::vec(room(), 0..3));
    (any::<bool>(), prop::option::of(cursor()), rooms).prop_map(|(quiet, since, rooms)| Entrance {
        quiet,
        since,
        rooms: rooms.filter(|_| !quiet),
    })
}

fn about_accounts() -> impl Strategy<Value = Command<'static>> {
    let key = || prop::option::of(Just((Cow::Borrowed("a+/="), Cow::Borrowed("laptop"))));
    let scope = ("(send|read,msg|all)", "(#ops|#a,#b)?")
        .prop_map(|(may, rooms): (String, String)| Scope::parse(&may, &rooms, "60").expect("a scope"));
    prop_oneof![
        (nick(), text(), prop::option::of(text()), key(), entrance()).prop_map(
            |(name, password, invite, key, entrance)| Command::Register {
                name,
                password: Some(Secret(password)),
                invite: invite.map(Secret),
                key,
                entrance
            }
        ),
        (nick(), text(), entrance()).prop_map(|(name, password, entrance)| Command::Auth {
            credential: Credential::Password { name, password },
            entrance
        }),
        entrance().prop_map(|entrance| Command::Auth {
            credential: Credential::Key { name: "Alice", key: "a=", signature: "b+/=" },
            entrance
        }),
        entrance().prop_map(|entrance| Command::Auth { credential: Credential::Token("t"), entrance }),
        (text(), prop::option::of(text()), prop::option::of(nick())).prop_map(|(new, old, account)| {
            Command::Password { new: Secret(new), old: old.map(Secret), account }
        }),
        nick().prop_map(|name| Command::Unregister { name }),
        prop_oneof![Just(KeyChange::List), Just(KeyChange::Add("a+/=", "x")), Just(KeyChange::Remove("x"))]
            .prop_map(|change| Command::Key { change }),
        prop_oneof![
            Just(TokenChange::List),
            (scope, period()).prop_map(|(scope, expires)| TokenChange::Add {
                label: "deploy",
                scope,
                expires
            }),
            Just(TokenChange::Remove("deploy"))
        ]
        .prop_map(|change| Command::Token { change }),
        (prop::option::of((room(), nick())), period())
            .prop_map(|(to, expires)| Command::Invite { to, expires }),
        (
            prop::sample::select(vec![Presence::Online, Presence::Away, Presence::Busy]),
            prop::option::of(text())
        )
            .prop_map(|(presence, text)| Command::Status { presence, text }),
        (
            nick(),
            prop_oneof![
                Just(ProfileChange::Ask(None)),
                Just(ProfileChange::Ask(Some("avatar"))),
                Just(ProfileChange::Clear("colour")),
                text().prop_map(|value| ProfileChange::Set("display", value)),
            ]
        )
            .prop_map(|(nick, change)| Command::Profile { nick, change }),
    ]
}

fn authority() -> impl Strategy<Value = Command<'static>> {
    let place = || prop_oneof![room().prop_map(RoomOrServer::Room), Just(RoomOrServer::Server)];
    let reason = || prop::option::of(text());
    let page = prop_oneof![
        Just(AuditPage::Latest),
        (0u64..1 << 50).prop_map(AuditPage::Before),
        (0u64..1 << 50).prop_map(AuditPage::After),
        (0i64..1 << 45).prop_map(|millis| AuditPage::Since(Timestamp::from_millis(millis))),
        Just(AuditPage::Follow),
        Just(AuditPage::Verify),
    ];
    let role =
        prop::sample::select(vec![None, Some(None), Some(Some(Role::Operator)), Some(Some(Role::Bot))]);
    prop_oneof![
        (place(), nick(), reason()).prop_map(|(place, nick, reason)| Command::Kick { place, nick, reason }),
        (place(), reason(), period()).prop_map(|(place, reason, expires)| Command::Ban {
            place,
            whom: Some("192.0.2.0/24"),
            reason,
            expires
        }),
        place().prop_map(|place| Command::Ban { place, whom: None, reason: None, expires: None }),
        place().prop_map(|place| Command::Unban { place, whom: "bob" }),
        (place(), nick(), period(), reason()).prop_map(|(place, nick, time, reason)| Command::Mute {
            place,
            nick,
            time,
            reason
        }),
        (place(), nick(), role).prop_map(|(place, nick, role)| Command::Role {
            place,
            nick: Some(nick),
            role
        }),
        place().prop_map(|place| Command::Role { place, nick: None, role: None }),
        prop::sample::select(vec![
            Command::Stats,
            Command::Sessions,
            Command::Accounts,
            Command::Reload { clock: false },
            Command::Reload { clock: true }
        ]),
        text().prop_map(|text| Command::Announce { text }),
        (page, limit(), prop::option::of(text()), prop::option::of(text()))
            .prop_map(|(page, limit, user, event)| Command::Audit { page, limit, user, event }),
        (
            prop_oneof![
                Just(ShutdownAt::Now),
                Just(ShutdownAt::Cancel),
                (1u64..99_999).prop_map(|seconds| ShutdownAt::In(Period::from_secs(seconds)))
            ],
            reason()
        )
            .prop_map(|(at, reason)| Command::Shutdown { at, reason }),
    ]
}

proptest! {
    #[test]
    fn what_was_written_reads_back(
        label in prop::option::of("[a-z ;\\\\n]{1,20}".prop_map(Cow::Owned)),
        command in command(),
    ) {
        let request = Request { label, command };
        let mut written = Vec::new();
        request.write(&mut written);
        let written = String::from_utf8(written).expect("UTF-8");
        let line = Line::parse(written.strip_suffix('\n').expect("a line end")).expect("the grammar holds");
        prop_assert_eq!(Request::parse(&line).expect("a command"), request);
    }

    #[test]
    fn no_line_panics(line in "\\PC{0,60}") {
        if let Ok(line) = Line::parse(&line) {
            let _ = Request::parse(&line);
            let _ = announced_bytes(line.tags);
        }
    }
}

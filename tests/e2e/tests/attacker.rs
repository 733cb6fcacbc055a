//! Chapter 3.3: root in a home whose user attacks it.

use herm_e2e::{Container, Image, Options, wait_until};

const ROOTS: &str = "what is root's is looked at";

fn dev() -> Options {
    Container::of(&Image::herm_dev())
}

/// Swaps what is in the home for links out of it and back, as fast as it can, as a user who may
/// write there. Its files have a wrong group, so that setup has to give each of them.
const ATTACKER: &str = r#"
    chdir "/srv/home" or die "home: $!";
    umask 0;
    my @targets = ("/etc/shadow", "/etc/passwd", "/root", "/root/secret", "/etc");
    my $n = 0;
    open my $ready, ">", "/tmp/ready"; close $ready;
    until (-e "/tmp/enough") {
        my $target = $targets[$n++ % @targets];
        for my $file ("config.yaml", "auth.json", "sessions/bait", "sessions/a/bait") {
            open my $new, ">", "$file.new"; close $new; chmod 0777, "$file.new";
            rename "$file.new", $file;
            symlink $target, "$file.link"; rename "$file.link", $file;
            link $target, "$file.hard"; rename "$file.hard", $file;
            unlink $file; open my $again, ">", $file; close $again;
        }
        for my $dir ("cron", "sessions/a", "profiles") {
            rename $dir, "$dir.aside"; symlink "/root", $dir;
            unlink $dir; rename "$dir.aside", $dir; mkdir $dir;
        }
    }
"#;

/// The home's user has a wrong group.
const HOMES_USER: (&str, &str) = ("10000:4321", ATTACKER);

/// The same by a third user, in directories that nobody else may write to: setup gives what is in such
/// a one by name, once it is root's alone. It makes a new one as soon as setup has given the last.
const THIRD: &str = r#"
    chdir "/srv/home/sessions" or die "sessions: $!";
    umask 022;
    my @targets = ("/etc/shadow", "/etc/passwd", "/root/secret");
    my ($n, $given) = (0, 0);
    open my $ready, ">", "/tmp/ready"; close $ready;
    until (-e "/tmp/enough") {
        mkdir "third"; mkdir "third/in";
        for my $dir ("third/in", "third") {
            chdir "/srv/home/sessions/$dir" or next;
            for (1 .. 20) {
                my $target = $targets[$n++ % @targets];
                for my $file ("a", "b", "c") {
                    chmod 0777, "."; chmod 0755, ".";
                    open my $new, ">", "new"; close $new; rename "new", $file;
                    symlink $target, "link"; rename "link", $file;
                    link $target, "hard"; rename "hard", $file;
                    unlink $file; open my $again, ">", $file; close $again;
                }
            }
        }
        chdir "/srv/home/sessions";
        if ((stat "third")[4] != $<) { rename "third", "third.$n"; $given++; }
    }
    print $given;
"#;

/// What setup must not be: it looks at a name, and then acts on the name.
const NAIVE: &str = r#"
    my $before = (stat "/etc/shadow")[4];
    for (1 .. 2_000_000) {
        my @found = lstat "/srv/home/sessions/bait";
        next unless @found and -f _;
        chown 10000, 10000, "/srv/home/sessions/bait";
        last if (stat "/etc/shadow")[4] != $before;
    }
"#;

const OUTSIDE: &str = "stat -c '%n %u:%g %a' /etc /etc/shadow /etc/passwd /root /root/secret /; \
    sha256sum /etc/shadow /etc/passwd /root/secret; ls -A /root";

/// What was outside before and after, and what the attacker had to say.
fn under_attack((user, attacker): (&str, &str), as_root: &[&str]) -> (String, String, String) {
    let container = Container::booted(&dev().command(&["sleep", "infinity"]));
    let prepare = "mkdir -p /srv/home/sessions/a && chown -R 10000:10000 /srv/home && chmod 777 /srv/home/sessions && echo s > /root/secret && chmod 600 /root/secret";
    container
        .exec_root("the home and the secret are made", &["sh", "-c", prepare])
        .succeeds();
    let outside = || {
        let seen = container.exec_root(ROOTS, &["sh", "-c", OUTSIDE]);
        seen.succeeds().to_owned()
    };
    let before = outside();
    let flags = ["--user", user];
    let said = std::thread::scope(|scope| {
        let attack = || container.exec_with(&flags, &["perl", "-e", attacker], b"");
        let attack = scope.spawn(attack);
        wait_until("the attacker is at it", || {
            container.sh("test -e /tmp/ready").is_success()
        });
        let acted = container.exec_root("root acts in the home", as_root);
        container.sh("touch /tmp/enough").succeeds();
        acted.succeeds();
        attack.join().unwrap().succeeds().to_owned()
    });
    (before, outside(), said)
}

#[test]
fn l27_nothing_outside_the_home_ever_changes_while_its_user_swaps_everything_in_it_for_links() {
    let setup = "i=0; while [ $i -lt 1000 ]; do herm setup --home /srv/home > /tmp/setup.log || exit 1; i=$((i + 1)); done; cat /tmp/setup.log";
    let (before, after, _) = under_attack(HOMES_USER, &["sh", "-c", setup]);
    assert_eq!(before, after);
}

#[test]
fn l27_nothing_outside_ever_changes_while_a_third_user_swaps_what_is_given_by_name() {
    let setup = "i=0; while [ $i -lt 100 ]; do herm setup --home /srv/home > /tmp/setup.log || exit 1; i=$((i + 1)); done; cat /tmp/setup.log";
    let (before, after, given) = under_attack(("4444:4444", THIRD), &["sh", "-c", setup]);
    assert_eq!(before, after);
    let given: u32 = given.parse().unwrap();
    assert!(given > 10, "setup met the third user {given} times only");
}

#[test]
fn l27_the_same_attacker_wins_against_a_setup_that_acts_on_names() {
    let (before, after, _) = under_attack(HOMES_USER, &["perl", "-e", NAIVE]);
    assert_ne!(before, after, "the attacker is no match for anybody");
}

#[test]
fn l27_a_home_that_is_a_link_planted_in_another_users_directory_is_refused() {
    let container = Container::booted(&dev().command(&["sleep", "infinity"]));
    container
        .sh("mkdir /opt/data/x && ln -s /root /opt/data/hermes")
        .succeeds();
    let setup = container.exec_root(
        "root acts in the home",
        &["herm", "setup", "--home", "/opt/data/hermes"],
    );
    assert!(
        setup
            .stderr
            .contains("a link that another user can have made"),
        "{setup}"
    );
    assert_eq!(container.stat(&["/root"]), ["0:0 700"]);
    let root = container.exec_root(ROOTS, &["ls", "-A", "/root"]);
    assert!(!root.succeeds().contains("cron"), "{root}");
}

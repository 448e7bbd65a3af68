"""`--ack leader` and `pivot followers`, with processes."""

from pathlib import Path

from tests.e2e.processes import eventually, pivot, pivot_json, serving

KEYS = ("--key", "settings", "--key", "users/*")


def test_a_write_that_no_leader_confirms_is_kept_and_exits_with_1(tmp_path: Path) -> None:
    with serving(tmp_path, *KEYS, "--leader", "127.0.0.1:1", "--log-level", "error") as node:
        ack = ("--ack", "leader", "--ack-timeout", "0.1", "--url", node.url)
        code, out, err = pivot("set", "settings", "1", *ack)
        assert (code, out) == (1, '"settings"\n')
        assert err == "kept by the server; its leader has not confirmed it yet\n"
        assert pivot("get", "settings", "--url", node.url)[:2] == (0, "1\n")
        assert pivot("del", "settings", *ack)[0] == 1


def test_followers_are_shown_and_told_about(tmp_path: Path) -> None:
    with serving(tmp_path, *KEYS) as leader:
        assert pivot("followers", "--url", leader.url)[1] == "nobody is known to follow\n"
        config = tmp_path / "leader.toml"
        config.write_text('listen = "127.0.0.1:0"\n[[keys]]\npath = "users/*"\n[knobs]\ncollect_s = 0.1\n')
        with (
            serving(tmp_path, "--config", str(config)) as quick,
            serving(tmp_path, "--key", "users/*", "--leader", quick.url, "--name", "shop") as node,
        ):
            pivot_json("set", "users/ann", "1", "--ack", "leader", "--ack-timeout", "20", "--url", node.url)
            eventually(lambda: len(pivot_json("followers", "--url", quick.url)) == 1)
            (follower,) = pivot_json("followers", "--complete", "--url", quick.url)
            assert (follower["collection"], follower["name"]) == ("users/*", "shop")
            assert "shop" in pivot("followers", "--url", quick.url)[1]
            pivot_json("del", "users/ann", "--ack", "leader", "--ack-timeout", "20", "--url", node.url)
            eventually(lambda: "collected" in quick.log)
        unknown = pivot("followers", "--remove", "nobody", "--url", leader.url)
        assert (unknown[0], unknown[1]) == (1, "")
        assert "store 'nobody' does not follow this member" in unknown[2]

// Asks this node every second what it knows of the cluster, and shows it. What is null is unknown, and said to be.
"use strict";

const EVERY_MS = 1000;
const ANSWER_WITHIN_MS = 5000;
const KEPT_AS = "rollcall.token";
const STATES = { up: "good", joining: "wait", draining: "wait", drained: "wait", removed: "wait", unreachable: "bad" };

const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem(KEPT_AS);
let timer = null;

function element(name, text, classes) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (classes) made.className = classes;
    return made;
}

/** A cell; null is unknown. */
function cell(value, classes) {
    if (value === null || value === undefined) return element("td", "unknown", `unknown ${classes || ""}`);
    return element("td", typeof value === "number" ? value.toLocaleString("en") : value, classes);
}

function badged(text, kind) {
    const made = element("td");
    made.append(element("span", text, `badge ${kind}`));
    return made;
}

function row(...cells) {
    const made = element("tr");
    made.append(...cells);
    return made;
}

function named(text) {
    const made = element("th", text);
    made.scope = "row";
    return made;
}

function duration(seconds) {
    if (seconds === null) return null;
    const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
    for (const [size, unit] of parts) {
        if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    }
    return `${seconds} s`;
}

function memory(bytes) {
    return bytes === null ? null : `${(bytes / 1048576).toFixed(0)} MiB`;
}

function nodeRow(node) {
    const numbers = [duration(node.uptime_s), node.sessions, node.connections, node.user_actors,
        node.partitions_led, node.partitions_held, memory(node.rss_bytes)];
    return row(named(node.name), badged(node.state, STATES[node.state] || "unknown"), cell(node.http), cell(node.version),
        ...numbers.map((value) => cell(value, "n")));
}

/** How far a replica is behind what its leader has committed. */
function behind(partition, name) {
    const applied = partition.applied[name];
    if (applied === null || applied === undefined || partition.committed === null) return `${name}: unknown`;
    return `${name}: ${Math.max(0, partition.committed - applied).toLocaleString("en")}`;
}

function partitionRow(partition) {
    const replicas = partition.replicas.map((name) => behind(partition, name)).join(", ");
    return row(cell(partition.id, "n"), badged(partition.healthy ? "healthy" : "no leader", partition.healthy ? "good" : "bad"),
        cell(partition.leader), cell(partition.term, "n"), cell(partition.committed, "n"), cell(replicas),
        cell(partition.users, "n"), cell(partition.online, "n"));
}

function moveItem(move) {
    const done = `${move.state.replace("_", " ")}, ${move.done_percent} %`;
    return element("li", `Partition ${move.partition}: from ${move.from} to ${move.to}, ${done}`);
}

function summary(status) {
    const total = (of) => {
        const known = status.partitions.map((partition) => partition[of]);
        return known.includes(null) ? null : known.reduce((sum, n) => sum + n, 0);
    };
    const facts = [
        ["Nodes up", status.nodes_up === null ? null : `${status.nodes_up} of ${status.nodes_total}`],
        ["Partitions", `${status.ring.partitions}, ${status.ring.replication} replicas`],
        ["Users", total("users")], ["Online", total("online")],
        ["Version", status.version], ["Placement", `epoch ${status.ring.epoch}`], ["Cluster", status.cluster_id],
    ];
    return facts.map(([name, value]) => {
        const made = element("div");
        const shown = typeof value === "number" ? value.toLocaleString("en") : value;
        made.append(element("dt", name), element("dd", shown === null ? "unknown" : shown, shown === null ? "unknown" : ""));
        return made;
    });
}

function health(text, kind) {
    const badge = byId("health");
    // Said again only when it changes, so that a screen reader is not interrupted every second.
    if (badge.textContent !== text) badge.textContent = text;
    badge.className = `badge ${kind}`;
}

function notice(text) {
    byId("notice").hidden = !text;
    if (text && byId("notice").textContent !== text) byId("notice").textContent = text;
}

function show(status) {
    health(status.healthy ? "healthy" : "not healthy", status.healthy ? "good" : "bad");
    byId("summary").replaceChildren(...summary(status));
    byId("nodes").replaceChildren(...status.nodes.map(nodeRow));
    byId("partitions").replaceChildren(...status.partitions.map(partitionRow));
    byId("moves").replaceChildren(...status.moves.map(moveItem));
    byId("no-moves").hidden = status.moves.length > 0;
    byId("enter").hidden = true;
    byId("forget").hidden = byId("cluster").hidden = false;
}

function forget(why) {
    clearTimeout(timer);
    token = null;
    sessionStorage.removeItem(KEPT_AS);
    byId("enter").hidden = false;
    byId("forget").hidden = byId("cluster").hidden = true;
    health("not asked yet", "unknown");
    notice(why);
    byId("token").focus();
}

async function refresh() {
    const asked = token;
    try {
        const answer = await fetch("/v1/cluster/status", {
            headers: { Authorization: `Bearer ${asked}` },
            signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
        });
        if (asked !== token) return;
        if (answer.status === 401 || answer.status === 403) {
            forget(answer.status === 401 ? "The token is not valid here, or no longer." : "The token has no scope admin.");
            return;
        }
        if (!answer.ok) throw new Error(`the node answered ${answer.status}`);
        show(await answer.json());
        notice("");
    } catch (error) {
        if (asked !== token) return;
        health("unknown", "unknown");
        notice(`No answer: ${error.message}. What is shown may be old; asking again.`);
    }
    timer = setTimeout(refresh, EVERY_MS);
}

byId("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    // A header holds nothing else; a token never does.
    if (!/^[\x21-\x7e]+$/.test(token)) {
        forget("That is no token.");
        return;
    }
    byId("token").value = "";
    sessionStorage.setItem(KEPT_AS, token);
    notice("");
    refresh();
});
byId("forget").addEventListener("click", () => forget(""));
if (token) refresh();

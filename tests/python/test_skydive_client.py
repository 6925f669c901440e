"""Skydive's Python client 0.10.0, as it is on PyPI, against a running flowtap.

    python test_skydive_client.py HOST:PORT all      everything that it can do here
    python test_skydive_client.py HOST:PORT leave    declares what shall survive a restart
    python test_skydive_client.py HOST:PORT find     finds it again, and takes it back
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

from skydive.encoder import JSONEncoder
from skydive.graph import Edge, Node
from skydive.rest.client import BadRequest, RESTClient
from skydive.websocket.client import (
    EdgeAddedMsgType,
    NodeAddedMsgType,
    NodeDeletedMsgType,
    NodeUpdatedMsgType,
    SyncReplyMsgType,
    SyncRequestMsg,
    SyncRequestMsgType,
    WSClient,
    WSClientDefaultProtocol,
    WSMessage,
)

ADDRESS = sys.argv[1]
# Long enough for a machine that is busy with other tests.
PATIENCE = 60


def eventually(what, look):
    """Waits until `look` returns something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.02)
    raise AssertionError("waited for " + what)


class Rest(unittest.TestCase):
    def setUp(self):
        self.client = RESTClient(ADDRESS)

    def refused(self, call, *words):
        with self.assertRaises(BadRequest) as raised:
            call()
        reason = raised.exception.args[0].decode()
        for word in words:
            self.assertIn(word, reason)

    def node(self, **metadata):
        metadata = {"Name": "n-" + uuid.uuid4().hex, "Type": "python-test", **metadata}
        node = self.client.node_create(metadata=metadata)
        self.addCleanup(self.forget_node, node.id)
        return node

    def forget_node(self, node_id):
        if any(node.id == node_id for node in self.client.node_list()):
            self.client.node_delete(node_id)

    def test_a_name_and_a_password_do_no_harm(self):
        client = RESTClient(ADDRESS, username="admin", password="secret")
        self.assertEqual(client.lookup("G.V().Has('Type', 'host').Count()"), 1)
        self.assertTrue(client.auth.authenticated)

    def test_look_ups(self):
        host = self.client.lookup_nodes("G.V().Has('Type', 'host')")[0]
        self.assertIsInstance(host, Node)
        self.assertEqual(host.metadata["Name"], host.host)
        self.assertGreater(host.created_at, 0)
        self.assertEqual(self.client.lookup("G.V().Has('Type', 'host').Count()"), 1)
        # The host's interfaces come as soon as they are seen.
        query = "G.V().Has('Type', 'host').OutE('RelationType', 'ownership')"
        edge = eventually("an interface", lambda: self.client.lookup_edges(query))[0]
        self.assertIsInstance(edge, Edge)
        self.assertEqual((edge.parent, edge.metadata["RelationType"]), (host.id, "ownership"))
        graph = self.client.lookup("G")[0]
        self.assertEqual(sorted(graph), ["Edges", "Nodes"])
        self.assertEqual(self.client.lookup("G.Flows()"), [])
        names = self.client.lookup("G.V().Has('Type', 'host').Values('Name')")
        self.assertEqual(names, [host.host])

    def test_wrong_queries(self):
        self.refused(lambda: self.client.lookup("G.Vee()"), "column 3")
        self.refused(lambda: self.client.lookup("G.V("), "column")

    def test_captures(self):
        captures = self.client.capture_list()
        self.assertIn("sflow", [capture.capture_type for capture in captures])
        self.assertTrue(all(capture.uuid for capture in captures))
        # For an interface that may come.
        query = "G.V().Has('Name', 'python-test-none')"
        made = self.client.capture_create(query, name="python", bpf_filter="tcp port 80", raw_pkt_limit=5)
        self.assertEqual((made.query, made.bpf_filter, made.raw_pkt_limit), (query, "tcp port 80", 5))
        self.assertIn(made.uuid, [capture.uuid for capture in self.client.capture_list()])
        self.client.capture_delete(made.uuid)
        self.assertNotIn(made.uuid, [capture.uuid for capture in self.client.capture_list()])
        self.refused(lambda: self.client.capture_delete(made.uuid), "not found")
        self.refused(lambda: self.client.capture_create("G.Vee()"), "column 3")

    def test_a_nodes_life(self):
        node = self.client.node_create("python-1", "elsewhere", {"Name": "a", "Type": "python-test", "Size": 3})
        self.addCleanup(self.forget_node, "python-1")
        self.assertEqual((node.id, node.host, node.revision), ("python-1", "elsewhere", 1))
        self.assertEqual(node.metadata, {"Name": "a", "Type": "python-test", "Size": 3})
        found = self.client.lookup_nodes("G.V().Has('Size', GT(2))")
        self.assertEqual([node.id for node in found], ["python-1"])
        patches = [
            {"op": "add", "path": "/Metadata/Room", "value": {"Floor": 2}},
            {"op": "replace", "path": "/Metadata/Size", "value": 4},
            {"op": "test", "path": "/Metadata/Room/Floor", "value": 2},
        ]
        node = self.client.node_update("python-1", patches)
        self.assertEqual(node.metadata["Room"], {"Floor": 2})
        self.assertEqual((node.metadata["Size"], node.revision), (4, 2))
        node = self.client.node_update("python-1", [{"op": "remove", "path": "/Metadata/Room/Floor"}])
        self.assertEqual(node.metadata["Room"], {})
        self.assertIn("python-1", [node.id for node in self.client.node_list()])
        # A patch that changes nothing is answered with 304, which this client takes for a failure.
        self.refused(lambda: self.client.node_update("python-1", [{"op": "add", "path": "/Metadata/Size", "value": 4}]))
        self.refused(lambda: self.client.node_update("python-1", [{"op": "remove", "path": "/Metadata/None"}]), "patch")
        self.refused(lambda: self.client.node_create("python-1", metadata=node.metadata), "duplicated resource")
        self.client.node_delete("python-1")
        self.assertEqual(self.client.lookup("G.V().Has('Size', 4)"), [])
        self.refused(lambda: self.client.node_delete("python-1"), "Node 'python-1' not found")
        self.refused(lambda: self.client.node_update("python-1", []), "Node 'python-1' not found")
        self.refused(lambda: self.client.node_create(metadata={"Name": "a"}), "Name and Type")

    def test_a_node_that_is_watched_takes_more(self):
        host = self.client.lookup_nodes("G.V().Has('Type', 'host')")[0]
        node = self.client.node_update(host.id, [{"op": "add", "path": "/Metadata/Rack", "value": "B7"}])
        self.assertEqual(node.metadata["Rack"], "B7")
        self.assertEqual(self.client.lookup_nodes("G.V().Has('Rack', 'B7')")[0].id, host.id)
        self.client.node_update(host.id, [{"op": "remove", "path": "/Metadata/Rack"}])
        self.refused(lambda: self.client.node_delete(host.id), "is what flowtap sees")

    def test_an_edges_life(self):
        a, b = self.node(), self.node()
        edge = self.client.edge_create(a.id, b.id, metadata={"RelationType": "layer2"})
        self.assertEqual((edge.parent, edge.child), (a.id, b.id))
        neighbours = self.client.lookup_nodes("G.V('%s').Out('Type', 'python-test')" % a.id)
        self.assertEqual([node.id for node in neighbours], [b.id])
        edge = self.client.edge_update(edge.id, [{"op": "add", "path": "/Metadata/Speed", "value": 100}])
        self.assertEqual(edge.metadata, {"RelationType": "layer2", "Speed": 100})
        self.assertIn(edge.id, [edge.id for edge in self.client.edge_list()])
        path = self.client.lookup("G.V('%s').ShortestPathTo(Metadata('Name', '%s'))" % (a.id, b.metadata["Name"]))
        self.assertEqual([node["ID"] for node in path[0]], [a.id, b.id])
        self.client.edge_delete(edge.id)
        self.assertNotIn(edge.id, [edge.id for edge in self.client.edge_list()])
        self.refused(lambda: self.client.edge_delete(edge.id), "Edge '%s' not found" % edge.id)
        self.refused(lambda: self.client.edge_create(a.id, "none", metadata={"RelationType": "x"}), "none")
        self.refused(lambda: self.client.edge_create(a.id, b.id, metadata={}), "RelationType")

    def test_node_rules(self):
        name = "made-" + uuid.uuid4().hex
        made = self.client.noderule_create("create", metadata={"Name": name, "Type": "fabric", "Rule": "yes"})
        node = self.client.lookup_nodes("G.V().Has('Name', '%s')" % name)[0]
        self.assertEqual((node.metadata["Rule"], node.metadata["TID"]), ("yes", node.id))
        query = "G.V().Has('Name', '%s')" % name
        update = self.client.noderule_create("update", metadata={"Colour": "red"}, query=query)
        self.assertEqual((update.action, update.query, update.metadata), ("update", query, {"Colour": "red"}))
        self.assertEqual(self.client.lookup_nodes(query)[0].metadata["Colour"], "red")
        rules = {rule.uuid: rule.action for rule in self.client.noderule_list()}
        self.assertEqual((rules[made.uuid], rules[update.uuid]), ("create", "update"))
        self.client.noderule_delete(update.uuid)
        self.assertNotIn("Colour", self.client.lookup_nodes(query)[0].metadata)
        self.client.noderule_delete(made.uuid)
        self.assertEqual(self.client.lookup_nodes(query), [])
        self.refused(lambda: self.client.noderule_delete(made.uuid), "Noderule '%s' not found" % made.uuid)
        self.refused(lambda: self.client.noderule_create("create", metadata={}), "Name and Type")
        self.refused(lambda: self.client.noderule_create("update", metadata={"a": 1}, query="G.Flows()"), "G.Flows()")

    def test_edge_rules(self):
        a, b = self.node(), self.node()
        by_name = lambda node: "G.V().Has('Name', '%s')" % node.metadata["Name"]
        rule = self.client.edgerule_create(by_name(a), by_name(b), {"RelationType": "python", "Cable": 7})
        self.assertEqual((rule.src, rule.metadata["Cable"]), (by_name(a), 7))
        edge = self.client.lookup_edges("G.V('%s').OutE('RelationType', 'python')" % a.id)[0]
        self.assertEqual((edge.child, edge.metadata["Cable"]), (b.id, 7))
        self.assertIn(rule.uuid, [rule.uuid for rule in self.client.edgerule_list()])
        self.client.edgerule_delete(rule.uuid)
        self.assertEqual(self.client.lookup_edges("G.E().Has('Cable', 7)"), [])
        self.refused(lambda: self.client.edgerule_create(by_name(a), by_name(b), {}), "RelationType")


class Talker(WSClientDefaultProtocol):
    """Keeps what it is told, and says what it shall once it is connected."""

    def onOpen(self):
        state = self.factory.kwargs["state"]
        state["protocol"] = self
        for message in state["say"]:
            self.sendWSMessage(message)

    def onMessage(self, payload, isBinary):
        self.factory.kwargs["state"]["told"].append(json.loads(payload.decode()))

    def onClose(self, wasClean, code, reason):
        self.factory.kwargs["state"]["closed"] = (code, reason)


class WebSocket(unittest.TestCase):
    def setUp(self):
        self.client = RESTClient(ADDRESS)
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.addCleanup(self.loop.close)

    def connect(self, endpoint, name, say=(), **options):
        state = {"told": [], "say": say, "protocol": None, "closed": None}
        url = "ws://%s/ws/%s" % (ADDRESS, endpoint)
        WSClient(name, url, protocol=Talker, state=state, **options).connect()
        return state

    def until(self, what, look):
        """Runs the loop until `look` returns something."""

        async def wait():
            while not look():
                await asyncio.sleep(0.01)

        try:
            self.loop.run_until_complete(asyncio.wait_for(wait(), PATIENCE))
        except asyncio.TimeoutError:
            raise AssertionError("waited for " + what)
        return look()

    def told(self, state, kind, node_id=None):
        """The first message of a type, about a node if one is named."""

        def look():
            of_kind = (m for m in state["told"] if m["Type"] == kind)
            return next((m for m in of_kind if node_id in (None, m["Obj"].get("ID"))), None)

        return self.until(kind, look)

    def close(self, state):
        state["protocol"].sendClose()
        self.until("the close", lambda: state["closed"])

    def test_subscribe_and_publish(self):
        request = WSMessage("Graph", SyncRequestMsgType, SyncRequestMsg(""))
        subscriber = self.connect("subscriber", "python-subscriber", [request])
        reply = self.told(subscriber, SyncReplyMsgType)
        self.assertEqual((reply["UUID"], reply["Status"]), (request.uuid, 200))
        self.assertIn("host", [node["Metadata"].get("Type") for node in reply["Obj"]["Nodes"]])

        a = Node("ws-a", "", metadata={"Name": "ws-a", "Type": "python-test"})
        b = Node("ws-b", "", metadata={"Name": "ws-b", "Type": "python-test"})
        edge = Edge("ws-e", "", "ws-a", "ws-b", metadata={"RelationType": "layer2"})
        say = [
            WSMessage("Graph", NodeAddedMsgType, a),
            WSMessage("Graph", NodeAddedMsgType, b),
            WSMessage("Graph", EdgeAddedMsgType, edge),
        ]
        publisher = self.connect("publisher", "python-publisher", say, persistent=False)
        added = self.told(subscriber, NodeAddedMsgType, "ws-a")["Obj"]
        self.assertEqual(added["Origin"], "skydive-python-client.python-publisher")
        self.assertEqual(self.told(subscriber, EdgeAddedMsgType, "ws-e")["Obj"]["Child"], "ws-b")
        self.assertEqual(self.client.lookup_nodes("G.V().Has('Name', 'ws-a')")[0].id, "ws-a")

        a.metadata["Colour"] = "blue"
        publisher["protocol"].sendWSMessage(WSMessage("Graph", NodeUpdatedMsgType, a))
        updated = self.told(subscriber, NodeUpdatedMsgType, "ws-a")["Obj"]
        self.assertEqual(updated["Metadata"]["Colour"], "blue")
        publisher["protocol"].sendWSMessage(WSMessage("Graph", NodeDeletedMsgType, b))
        self.told(subscriber, NodeDeletedMsgType, "ws-b")
        # It asked for that what it made goes with it.
        self.close(publisher)
        self.told(subscriber, NodeDeletedMsgType, "ws-a")
        self.assertEqual(self.client.lookup("G.V().Has('Type', 'python-test', 'Name', Regex('ws-.*'))"), [])
        self.close(subscriber)

    def test_a_filter(self):
        node = self.client.node_create(metadata={"Name": "filtered", "Type": "python-test"})
        self.addCleanup(self.client.node_delete, node.id)
        gremlin = "G.V().Has('Watched', 'yes').SubGraph()"
        subscriber = self.connect("subscriber", "python-filter", filter=gremlin)
        self.assertEqual(self.told(subscriber, "Sync")["Obj"], {"Nodes": [], "Edges": []})
        self.client.node_update(node.id, [{"op": "add", "path": "/Metadata/Watched", "value": "yes"}])
        self.told(subscriber, NodeAddedMsgType, node.id)
        self.client.node_update(node.id, [{"op": "remove", "path": "/Metadata/Watched"}])
        self.told(subscriber, NodeDeletedMsgType, node.id)
        self.close(subscriber)

    def test_a_quiet_connection_stays(self):
        subscriber = self.connect("subscriber", "python-patient")
        # Longer than it takes to be dropped for not answering.
        end = time.monotonic() + 8
        self.until("the end of the wait", lambda: time.monotonic() > end)
        self.assertIsNone(subscriber["closed"])
        self.close(subscriber)

    def test_its_own_program(self):
        graph = {
            "Nodes": [
                {"ID": "shell-a", "Host": "h", "Metadata": {"Name": "shell-a", "Type": "python-test"}},
                {"ID": "shell-b", "Host": "h", "Metadata": {"Name": "shell-b", "Type": "python-test"}},
            ],
            "Edges": [
                {"ID": "shell-e", "Host": "h", "Parent": "shell-a", "Child": "shell-b",
                 "Metadata": {"RelationType": "layer2"}},
            ],
        }
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "graph.json")

            def run(mode):
                with open(path, "w") as file:
                    json.dump(graph, file, cls=JSONEncoder)
                program = os.path.join(os.path.dirname(sys.executable), "skydive-ws-client")
                command = [program, "--analyzer", ADDRESS, "--host", "python-shell", mode, path]
                subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True)

            find = lambda query: self.client.lookup(query)
            # A name is taken until its connection is seen to be gone.
            publishers = lambda: self.client.request("/api/status")["Publishers"]
            free = lambda: "python-shell" not in publishers()
            run("add")
            # It goes as soon as it has sent all, and what it made stays.
            eventually("the nodes", lambda: len(find("G.V().Has('Name', Regex('shell-.*'))")) == 2)
            eventually("the edge", lambda: find("G.V('shell-a').Out('Name', 'shell-b')"))
            graph["Nodes"][0]["Metadata"]["Colour"] = "green"
            eventually("its name to be free", free)
            run("update")
            eventually("the update", lambda: find("G.V().Has('Name', 'shell-a', 'Colour', 'green')"))
            eventually("its name to be free", free)
            run("delete")
            eventually("the end", lambda: find("G.V().Has('Name', Regex('shell-.*'))") == [])


def leave():
    client = RESTClient(ADDRESS)
    client.node_create("survivor-a", metadata={"Name": "survivor-a", "Type": "python-test"})
    client.node_create("survivor-b", metadata={"Name": "survivor-b", "Type": "python-test"})
    client.node_update("survivor-a", [{"op": "add", "path": "/Metadata/Rack", "value": 7}])
    client.edge_create("survivor-a", "survivor-b", "survivor-e", metadata={"RelationType": "layer2"})
    client.noderule_create("create", metadata={"Name": "survivor-rule", "Type": "fabric"})
    client.edgerule_create(
        "G.V().Has('Name', 'survivor-a')", "G.V().Has('Name', 'survivor-rule')", {"RelationType": "survivor"}
    )


def find():
    client = RESTClient(ADDRESS)
    survivor = client.lookup_nodes("G.V().Has('Rack', 7)")[0]
    assert survivor.id == "survivor-a", survivor.id
    assert client.lookup_nodes("G.V('survivor-a').Out('Name', 'survivor-b')")[0].id == "survivor-b"
    linked = client.lookup_nodes("G.V('survivor-a').OutE('RelationType', 'survivor').OutV()")
    assert linked[0].metadata["Name"] == "survivor-rule"
    (rule,) = client.noderule_list()
    client.noderule_delete(rule.uuid)
    (rule,) = client.edgerule_list()
    client.edgerule_delete(rule.uuid)
    client.node_delete("survivor-a")
    client.node_delete("survivor-b")
    assert client.lookup("G.V().Has('Name', Regex('survivor.*'))") == []
    assert "survivor-e" not in [edge.id for edge in client.edge_list()]


if __name__ == "__main__":
    mode = sys.argv[2]
    if mode == "all":
        unittest.main(argv=sys.argv[:1], verbosity=2)
    else:
        {"leave": leave, "find": find}[mode]()

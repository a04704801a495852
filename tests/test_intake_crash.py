"""PostgreSQL is killed in the middle of intake, over and over: what is stored is always a whole room."""

import random
import signal
import threading
import time

import psycopg

from harness import functions
from harness.peer import receive
from test_convergence import deliver, picture, random_room

CRASHES = 12


def test_crashes_in_the_middle_of_intake(own_cluster):
    chance = random.Random(7)
    database, whole = own_cluster.create_database(), own_cluster.create_database()
    room, peers = random_room(7, "12")
    for each in (database, whole):
        functions.initialize(each)
        for peer in peers:
            peer.publish(each)
    done = threading.Event()

    def bring():
        while not done.is_set():
            try:
                pdus = list(room.pdus)
                chance.shuffle(pdus)
                while pdus and not done.is_set():
                    batch = [pdus.pop() for _ in range(min(len(pdus), 5))]
                    receive(database, room, batch)
            except psycopg.OperationalError:
                time.sleep(0.05)

    bringer = threading.Thread(target=bring)
    bringer.start()
    try:
        for _ in range(CRASHES):
            time.sleep(0.05 + chance.random() * 0.4)
            own_cluster.restart(signal.SIGQUIT)
            assert database.query("select * from matrix.verify_room(%s)", [room.room_id]) == []
    finally:
        done.set()
        bringer.join()
    deliver(database, room, chance)
    receive(whole, room, room.pdus)
    assert picture(database, room) == picture(whole, room)

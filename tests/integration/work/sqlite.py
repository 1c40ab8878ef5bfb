"""Several processes write into one SQLite database in WAL mode; it must stay sound and complete.

Usage: sqlite.py DATABASE WRITERS TRANSACTIONS
Every writer adds rows in transactions, some of which it takes back, while two readers check a sum
that each transaction keeps; a further writer is killed in the midst of its work, again and again.
"""

import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time

PATIENCE_S = 50
ROWS = 5


def connect(path):
    connection = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
    mode = connection.execute("pragma journal_mode=wal").fetchone()
    assert mode == ("wal",), mode
    connection.execute("pragma synchronous=normal")
    connection.execute("pragma wal_autocheckpoint=50")
    return connection


def add(connection, writer, number):
    # The values of a transaction add up to 0, so every sum that is not 0 is a torn transaction.
    connection.execute("begin immediate")
    for row in range(ROWS):
        value = number if row < ROWS - 1 else -number * (ROWS - 1)
        connection.execute(
            "insert into entry values (?, ?, ?, ?, randomblob(?))",
            (writer, number, row, value, random.randrange(3000)),
        )


def write(path, writer, transactions):
    random.seed(writer)
    connection = connect(path)
    for number in range(transactions):
        add(connection, writer, number)
        if number % 10 == 9:
            connection.execute("rollback")
            add(connection, writer, number)
        connection.execute("commit")


def write_for_ever(path, writer):
    connection = connect(path)
    number = 0
    while True:
        add(connection, writer, number)
        connection.execute("commit")
        number += 1


def read(path, end):
    connection = connect(path)
    while not end.is_set():
        total = connection.execute("select coalesce(sum(value), 0) from entry").fetchone()
        assert total == (0,), f"a torn transaction: {total}"
        time.sleep(0.01)


def main(path, writers, transactions):
    connect(path).execute(
        "create table entry (writer, number, row, value, ballast, primary key (writer, number, row))"
    )
    end = multiprocessing.Event()
    readers = [multiprocessing.Process(target=read, args=(path, end)) for _ in range(2)]
    workers = [
        multiprocessing.Process(target=write, args=(path, i, transactions)) for i in range(writers)
    ]
    for process in readers + workers:
        process.start()
    kills = 0
    while any(process.is_alive() for process in workers):
        victim = multiprocessing.Process(target=write_for_ever, args=(path, writers + kills))
        victim.start()
        time.sleep(0.3)
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        kills += 1
    end.set()
    for process in readers + workers:
        process.join()
        assert process.exitcode == 0, f"{process} failed"

    connection = connect(path)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    count = connection.execute(
        "select count(*) from entry where writer < ?", (writers,)
    ).fetchone()
    assert count == (writers * transactions * ROWS,), count
    torn = connection.execute(
        "select count(*) from (select 1 from entry group by writer, number having count(*) != ?)",
        (ROWS,),
    ).fetchone()
    assert torn == (0,), torn
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    print(f"{count[0]} rows of {writers} writers, {kills} more were killed")


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""Signals become exceptions, wait for the end of an undisturbed block, and stay ignored where the parent said so."""

import os
import signal

import pytest

from core.stopping import Stopped, at_once, exit_code, stoppable, undisturbed, why


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_an_exception(number, code):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, stoppable():
        os.kill(os.getpid(), number)
    assert (exit_code(stopped.value), why(stopped.value)) == (code, signal.Signals(number).name)
    assert signal.getsignal(number) is before


def test_it_waits_for_the_end_of_the_block():
    done = []

    def blocks():
        with undisturbed():
            with undisturbed():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("after")

    with pytest.raises(Stopped), stoppable():
        blocks()
    assert done == ["inner", "outer"]


def test_an_error_in_the_block_wins():
    def fail():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), stoppable(), undisturbed():
        fail()


def test_an_ignored_signal_stays_ignored():
    """As nohup asks for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_outside_of_a_command():
    assert (exit_code(KeyboardInterrupt()), why(KeyboardInterrupt())) == (130, "SIGINT")


def test_after_a_wait_outside_of_python_signals_are_exceptions_again():
    def waits():
        with at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped), stoppable():
        waits()

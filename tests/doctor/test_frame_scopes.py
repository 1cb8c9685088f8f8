import sys

from rnncallbacks.doctor.frame_scopes import OwnModules


def make_network(width):
    memory = {"h": float(width)}

    def forward():
        return memory["h"]

    def later():
        return unbound

    if width < 0:
        unbound = 1.0
    return forward, later


def test_what_functions_share_with_the_one_that_made_them_is_reached():
    forward, later = make_network(3)
    assert callable(later)
    names = {key: value for key, value in OwnModules({__name__}).values(sys._getframe()) if key[1] == "make_network"}
    assert names == {("end", "make_network", "memory['h']"): 3.0}
    assert forward() == 3.0

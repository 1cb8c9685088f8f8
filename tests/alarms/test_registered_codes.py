"""Codes of other packages: their entries and pages, and what is said of wrong ones."""

import re

import pytest
from click.testing import CliRunner

from rnncallbacks import Run, on
from rnncallbacks.alarms.registered_codes import cause_of, find_entry, find_page
from rnncallbacks.bases import Guard
from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.errors import OptionError, PluginError

ENTRY = """
    from rnncallbacks.bases import Entry
    {code} = Entry(cause="{cause}", severity="info", remedy="look at it")
"""


@pytest.fixture
def register(install):
    """Puts a package with one code on the path; the code's entry is in a package that has its page."""

    def put(name, code, module, value=None, page=None, source=ENTRY):
        site = install(
            name,
            f"[rnncallbacks.codes]\n{code} = {value or f'{module}:{code}'}\n",
            folder=name,
            **{module: source.format(code=code, cause=f"a cause of {name}")},
        )
        if page is not None:
            (site / f"{module}.py").rename(site / "kept.py")
            (site / module / "pages").mkdir(parents=True)
            (site / "kept.py").rename(site / module / "__init__.py")
            (site / module / "pages" / f"{code}.md").write_text(page)

    return put


def explain(*arguments):
    return CliRunner().invoke(rnncallbacks, ["explain", *arguments])


def test_a_code_of_another_package_has_its_defaults_its_page_and_its_title(register):
    register("acme-codes", "ACME7", "acme_seven", page="# ACME7: seven\n")
    with Run(plugins=[on("epoch_end", lambda run: run.raise_alarm("ACME7", "it is 7"))]) as run:
        for _ in run.epochs(1):
            pass
    (alarm,) = run.alarms
    assert (alarm.cause, alarm.severity, alarm.remedy) == ("a cause of acme-codes", "info", "look at it")
    run.diagnosis.withdraw("ACME7", "for the test")
    assert cause_of("ACME7") == "a cause of acme-codes"
    assert explain("acme7").stdout == find_page("ACME7") == "# ACME7: seven\n"
    (line,) = [line for line in explain().stdout.splitlines() if line.startswith("ACME7")]
    assert re.split(r" {2,}", line) == ["ACME7", "info", "a cause of acme-codes", "acme-codes"]
    with pytest.raises(OptionError, match=r"'ACME77'\n.*did you mean 'ACME7'"):
        find_page("ACME77")


def test_two_packages_that_claim_one_code_are_both_named(register):
    register("acme-one", "ACME8", "acme_eight")
    register("acme-two", "ACME8", "other_eight")
    message = "'ACME8' is claimed by two distributions, acme-one and acme-two"

    class Eight(Guard):
        codes = ("ACME8",)

    with pytest.raises(PluginError, match=message), Run(plugins=[Eight()]) as run:
        next(run.epochs(1))
    for look_up in (find_entry, find_page):
        with pytest.raises(PluginError, match=message):
            look_up("ACME8")
    assert message in explain("ACME").stdout
    assert cause_of("ACME8") == ""


def test_a_code_of_the_library_cannot_be_claimed(register):
    register("acme-thief", "RNN601", "acme_thief")
    assert find_entry("RNN601").cause == "plateau"  # runs are not disturbed by a package that they do not use
    message = "'RNN601' is claimed by two distributions, acme-thief and rnncallbacks"
    assert message in explain("RNN6").stdout
    with pytest.raises(PluginError, match=message):
        find_page("RNN601")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": "nowhere_to_be_found:ACME9"}, "of acme-wrong cannot be loaded from 'nowhere_to_be_found:ACME9'"),
        ({"source": "{code} = 3"}, "expected 'acme_nine:ACME9' to be an Entry, got int"),
        ({}, "'ACME9' of acme-wrong has no page"),
    ],
)
def test_a_wrong_registration_names_the_package(register, arguments, message):
    register("acme-wrong", "ACME9", "acme_nine", **arguments)
    with pytest.raises(PluginError, match=re.escape(message)):
        find_page("ACME9")

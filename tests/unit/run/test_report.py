"""What a report measures by itself."""

from pathlib import Path

import pytest

from tunesmith.run import report


def test_energy_is_that_of_all_packages_and_absent_where_the_kernel_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "COUNTERS", tmp_path)
    assert report.joules() is None
    for package, used in (("intel-rapl:0", "1500000"), ("intel-rapl:1", "500000"), ("intel-rapl:0:0", "9000000")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "energy_uj").write_text(used + "\n")
    assert report.joules() == 2.0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("secret")
    assert report.joules() is None

"""Write the catalogue's hourly series from the published files: `python -m calibration.extract.series FOLDER`.

FOLDER holds `price/`, `carbon/` and `weather/`; the YAML beside each archive names its source. Every column becomes
8,760 hours of UTC, of a year closed to a ring: the hours of New Year's Eve that a shift leaves empty are those of the
other end.

What is put right on the way, each with its reason:

- *Three prices were shifted twice.* The files say UTC, but CAISO, PJM and NYISO were taken from local time to UTC a
  second time: their daily peaks stand at 2 to 11 h "UTC", PJM's and NYISO's first eleven hours are one repeated value
  (the first real one, midnight in the east, is labelled 10:00 and not 05:00), and CAISO is cheapest when California is
  dark. Read back through local time once, the evening peak of every market falls between 16 and 21 h of local
  standard time, which a test keeps. ERCOT and DE-LU are right as they are.
- *Repeated values* at the ends of a price file (padding) and hours without a value are interpolated from their
  neighbours around the ring. PJM's carbon intensity lacks 22 hours of 13 March 2022.
- *Carbon below 100 g/kWh in PJM*, five hours in October 2022 at a tenth of their neighbours, is a fault of the record
  and is interpolated too.
- *Weather* is in local standard time, hour 1 to 24; it is turned to UTC. Irradiance is the mean of the hour that
  ends at its label, temperatures stand at the label; the file records both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.commands import typed_path

HOURS = 8760
PRICES = {  # name: file, time zone of the second shift
    "caiso-2023-price": ("US-CAL-CISO_2023", "America/Los_Angeles"),
    "pjm-2023-price": ("US-MIDA-PJM_2023", "America/New_York"),
    "nyiso-2023-price": ("US-NY-NYIS_2023", "America/New_York"),
    "ercot-2023-price": ("US-TEX-ERCO_2023", None),
    "de-lu-2023-price": ("DE-LU_2023", None),
}
CARBON = {
    "caiso-2022-carbon": ("CISO_2022", None),
    "pjm-2022-carbon": ("PJM_2022", 100.0),  # g/kWh: below it the record is at fault
    "ercot-2022-carbon": ("ERCO_2022", None),
    "miso-2022-carbon": ("MISO_2022", None),
}
WEATHER = {"dallas": -6, "leesburg-va": -5, "phoenix": -7, "san-jose": -8}  # hours from UTC, standard time
PADDING_RUN = 6  # equal prices in a row at an end of the file


def price(source: Path, stem: str, shifted_again: str | None) -> np.ndarray:
    """Hourly price [USD/MWh]; entry i is the hour that begins i hours after 1 January 00:00 UTC."""
    rows = pd.read_csv(source / f"price/{stem}.csv.gz", index_col=0, parse_dates=True).iloc[:, 0]
    values = _without_padding(rows)
    if shifted_again is not None:
        values.index = values.index.tz_convert(shifted_again).tz_localize(None).tz_localize("UTC")
    return _ring(values).round(2)


def carbon(source: Path, stem: str, lowest: float | None) -> np.ndarray:
    """Hourly carbon intensity [g/kWh]; entry i is the hour that begins i hours after 1 January 00:00 UTC."""
    values = pd.read_csv(source / f"carbon/{stem}.csv.gz", index_col=0, parse_dates=True).iloc[:, 0]
    return _ring(values[values >= lowest] if lowest is not None else values).round(1)


def weather(source: Path, stem: str, utc_offset_h: int) -> dict[str, np.ndarray]:
    """Dry bulb, dew point [C] and global horizontal irradiance [W/m2]; entry i is labelled i + 1 h after 00:00 UTC."""
    rows = pd.read_csv(source / f"weather/{stem}.csv.gz")
    columns = {"dry_bulb_c": 1, "dew_point_c": 1, "global_horizontal_wh_m2": 0}
    turned = {
        name: np.roll(rows[name].to_numpy(float), -utc_offset_h).round(places) for name, places in columns.items()
    }
    turned["global_horizontal_w_m2"] = turned.pop("global_horizontal_wh_m2")
    return turned


def main() -> None:
    """Write every archive."""
    source = typed_path(__doc__, "the folder of the published files")
    for name, (stem, shifted_again) in PRICES.items():
        _write(name, {"price_usd_per_mwh": price(source, stem, shifted_again)})
    for name, (stem, lowest) in CARBON.items():
        _write(name, {"carbon_g_per_kwh": carbon(source, stem, lowest)})
    for name, utc_offset_h in WEATHER.items():
        _write(f"{name}-weather", weather(source, name.replace("-", "_"), utc_offset_h))


def _without_padding(rows: pd.Series) -> pd.Series:
    run = (rows.diff() != 0).cumsum()
    length = run.map(run.value_counts())
    # The last of the first run and the first of the last run are the real values that were repeated.
    padded = ((run == run.iloc[0]) & run.duplicated(keep="last")) | ((run == run.iloc[-1]) & run.duplicated())
    return rows[~(padded & (length >= PADDING_RUN))]


def _ring(values: pd.Series) -> np.ndarray:
    """One value for each hour of the year, whatever year the hour is in, gaps interpolated around the ring."""
    begin = pd.Timestamp(f"{values.index[HOURS // 2].year}-01-01", tz="UTC")
    hour = ((values.index - begin) // pd.Timedelta("1h")).to_numpy() % HOURS
    known = values.groupby(hour).mean().dropna()
    print(f"{values.name}: {HOURS - len(known)} of {HOURS} hours interpolated")
    return np.asarray(np.interp(np.arange(HOURS), known.index, known, period=HOURS))


def _write(name: str, columns: dict[str, np.ndarray]) -> None:
    stored: dict[str, Any] = {key: column.astype(np.float32) for key, column in columns.items()}
    np.savez_compressed(SHIPPED / "series" / f"{name}.npz", **stored)


if __name__ == "__main__":
    main()

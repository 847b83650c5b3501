"""The script that most people write first: requests and pandas, one page after the other. `plain.py BASE_URL APPID SECRET FIRST LAST OUT`"""

import datetime
import pathlib
import sys

import pandas
import requests

BEIJING = datetime.timezone(datetime.timedelta(hours=8))


def main():
    base, appid, secret, first, last, out = sys.argv[1:]
    day, last = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    body = {"grant_type": "client_credential", "appid": appid, "secret": secret}
    token = requests.post(f"{base}/cgi-bin/stable_token", json=body).json()["access_token"]
    while day <= last:
        start = int(datetime.datetime.combine(day, datetime.time(), BEIJING).timestamp())
        records, msgid = [], 1
        while True:
            ask = {"starttime": start, "endtime": start + 86_400, "msgid": msgid, "number": 10_000}
            page = requests.post(f"{base}/customservice/msgrecord/getmsglist", params={"access_token": token}, json=ask).json()
            records.extend(page["recordlist"])
            msgid = page["msgid"]
            if page["number"] < 10_000:
                break
        frame = pandas.DataFrame(records)
        frame["sent_at"] = pandas.to_datetime(frame["time"], unit="s", utc=True)
        folder = pathlib.Path(out, f"date={day}")
        folder.mkdir(parents=True)
        frame.to_parquet(folder / "messages.parquet", compression="zstd")
        day += datetime.timedelta(1)


if __name__ == "__main__":
    main()

"""A strong hand-written script: threads over the days, orjson, polars, zstd Parquet by day. `strong.py BASE_URL APPID SECRET FIRST LAST OUT`"""

import datetime
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import orjson
import polars
import requests

SCHEMA = {"openid": polars.String, "worker": polars.String, "opercode": polars.Int32, "text": polars.String, "time": polars.Int64}
BEIJING = datetime.timezone(datetime.timedelta(hours=8))


def download(base, appid, secret, first, last, out):
    """Writes each day's messages, and returns the days with their messages."""
    first, last = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    body = {"grant_type": "client_credential", "appid": appid, "secret": secret}
    token = requests.post(f"{base}/cgi-bin/stable_token", json=body).json()["access_token"]

    def fetch(day):
        start = int(datetime.datetime.combine(day, datetime.time(), BEIJING).timestamp())
        session = requests.Session()
        pages, msgid = [], 1
        while True:
            ask = {"starttime": start, "endtime": start + 86_400, "msgid": msgid, "number": 10_000}
            answer = session.post(f"{base}/customservice/msgrecord/getmsglist?access_token={token}", data=orjson.dumps(ask))
            page = orjson.loads(answer.content)
            pages.append(polars.DataFrame(page["recordlist"], schema=SCHEMA))
            msgid = page["msgid"]
            if page["number"] < 10_000:
                break
        frame = polars.concat(pages).with_columns(polars.from_epoch("time", "s").dt.cast_time_unit("us").alias("sent_at")).drop("time")
        folder = pathlib.Path(out, f"date={day}")
        folder.mkdir(parents=True)
        frame = frame.sort("sent_at", maintain_order=True).with_row_index("seq")
        frame.write_parquet(folder / "messages.parquet", compression="zstd")
        return day, frame

    days = [first + datetime.timedelta(number) for number in range((last - first).days + 1)]
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(fetch, days))


def main():
    download(*sys.argv[1:])


if __name__ == "__main__":
    main()

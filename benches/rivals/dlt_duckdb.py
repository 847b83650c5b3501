"""dlt into DuckDB, with Parquet as the loader's file format, which its documentation recommends for speed. `dlt_duckdb.py BASE_URL APPID SECRET FIRST LAST OUT`"""

import datetime
import os
import sys

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import requests

BEIJING = datetime.timezone(datetime.timedelta(hours=8))


def main():
    base, appid, secret, first, last, out = sys.argv[1:]
    first, last = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    body = {"grant_type": "client_credential", "appid": appid, "secret": secret}
    token = requests.post(f"{base}/cgi-bin/stable_token", json=body).json()["access_token"]

    @dlt.resource(name="messages", write_disposition="append")
    def messages():
        session = requests.Session()
        for number in range((last - first).days + 1):
            start = int(datetime.datetime.combine(first + datetime.timedelta(number), datetime.time(), BEIJING).timestamp())
            msgid = 1
            while True:
                ask = {"starttime": start, "endtime": start + 86_400, "msgid": msgid, "number": 10_000}
                page = session.post(f"{base}/customservice/msgrecord/getmsglist", params={"access_token": token}, json=ask).json()
                yield page["recordlist"]
                msgid = page["msgid"]
                if page["number"] < 10_000:
                    break

    os.makedirs(out)
    os.chdir(out)
    destination = dlt.destinations.duckdb("messages.duckdb")
    pipeline = dlt.pipeline(pipeline_name="kefu_bench", pipelines_dir="pipelines", destination=destination, dataset_name="wechat")
    pipeline.run(messages(), loader_file_format="parquet")


if __name__ == "__main__":
    main()

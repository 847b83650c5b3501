"""kefu every night in Airflow 3: one run of the DAG is one local day.

Put this file into the DAG folder. The workers need `kefu` on their PATH and, in their environment, KEFU_CONFIG (see ../kefu.toml.example) and KEFU_LAKE;
the secret stays in the file that kefu.toml names, and so is neither in Airflow's database nor in its logs.

Which day? Not `{{ ds }}`: that is the start of the data interval as a date *in UTC*, whatever the zone of the schedule, and which interval belongs to a
run depends on the timetable. For the run at 02:00 on 24 May, which is to fetch 23 May:

    timetable                                   data interval, local time         ds, Shanghai    ds, New York    DAY, below
    CronDataIntervalTimetable                   23 May 02:00 to 24 May 02:00      2024-05-22      2024-05-23      2024-05-23
    CronTriggerTimetable                        24 May 02:00, of no length        2024-05-23      2024-05-24      2024-05-24
    CronTriggerTimetable, interval of a day     23 May 02:00 to 24 May 02:00      2024-05-22      2024-05-23      2024-05-23

A schedule that is only a cron line means the first of these in Airflow 2 and the second in Airflow 3. So the timetable is named here, the third one, and
the day is that on which its interval starts, in the zone in which kefu cuts its days. (A day too late would be refused with 2, "is not over yet".)
"""

import datetime

import pendulum
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

ZONE = "Asia/Shanghai"  # `timezone` in kefu.toml
# The day of the first run, for example "2024-05-14". It fetches the day before. Airflow makes a run
# for each day since then, so set it to today. To fetch older days: kefu run --from A --to B.
START = None
# Tasks that share the accounts of kefu.toml. For some thousand accounts, a few hundred in each. More
# than one needs a lake in a bucket, or in a folder that all workers mount.
SHARDS = 1
DAY = "{{ params.date or data_interval_start.in_timezone('" + ZONE + "') | ds }}"

# Exit codes that a retry cannot fix. A person must act first.
FINAL = {
    1: "a bug in kefu",
    2: "wrong usage",
    65: "the API's data breaks the contract",
    73: "the lake cannot be written",
    77: "refused: credentials, IP whitelist, permission, frozen account",
    78: "settings are wrong or missing",
}


class KefuOperator(BaseOperator):
    """Runs kefu for one day and one shard of the accounts, and tells Airflow what its exit code means.

    BashOperator cannot: for it a code is success, a skip (`skip_on_exit_code`) or a failure that is tried again. No code of kefu's is a skip, and six are
    failures that must not be tried again.
    """

    template_fields = ("date",)

    def __init__(self, *, date: str, shard: str, **kwargs):
        super().__init__(**kwargs)
        self.date = date
        self.shard = shard
        self.hook = SubprocessHook()

    def execute(self, context):
        command = ["kefu", "run", "--date", self.date, "--shard", self.shard, "--log-format", "json"]
        code = self.hook.run_command(command).exit_code
        if code in FINAL:
            raise AirflowFailException(f"kefu ended with {code}: {FINAL[code]}")  # fails at once, whatever `retries` says
        if code != 0:  # 3, 69, 75, or killed
            raise AirflowException(f"kefu ended with {code}: trying again may help")

    def on_kill(self):
        self.hook.send_sigterm()  # safe at any time: a file in the lake is whole or not there


if START is None:
    raise ValueError("set START in kefu_dag.py to the day of the first run")

with DAG(
    dag_id="kefu",
    description="WeChat customer-service records of one local day into the lake",
    schedule=CronTriggerTimetable("0 2 * * *", timezone=ZONE, interval=datetime.timedelta(days=1)),
    # Each run fetches only its own day, so Airflow must catch up on missed nights. No run re-fetches
    # the day before its own (`refresh`). To find late records, run kefu without days, or with
    # --force.
    start_date=pendulum.parse(START, tz=ZONE).at(2),
    catchup=True,
    # One run at a time. A second run would find the accounts locked and exit with 75.
    max_active_runs=1,
    params={"date": Param(None, type=["null", "string"], format="date", description="A day to fetch in place of the run's own")},
    tags=["kefu"],
):
    # One mapped task for each shard. One that fails does not stop the others.
    KefuOperator.partial(
        task_id="run",
        date=DAY,
        retries=5,
        retry_delay=datetime.timedelta(minutes=10),
        retry_exponential_backoff=2,
        max_retry_delay=datetime.timedelta(hours=2),
        execution_timeout=datetime.timedelta(hours=3),
        map_index_template="shard {{ task.shard }}",
    ).expand(shard=[f"{index}/{SHARDS}" for index in range(SHARDS)])

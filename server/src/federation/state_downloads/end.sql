-- Ends a download, successful or not, and deletes its staged events.
with events as (
    delete from matriarch.state_download_events where download_id = $1
)
update matriarch.state_downloads set ended_at = now() where download_id = $1

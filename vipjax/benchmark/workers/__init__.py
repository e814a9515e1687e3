"""Code of the peers' processes. It does not import vipjax, which their Python may lack."""

<#
.SYNOPSIS
Install sep for this user, without administrator rights. Never run on a real Windows machine so far.
.DESCRIPTION
A small environment with the command `sep`, then what `sep setup` makes, then a first separation of
the example. Run again to repair or upgrade.
  powershell -ExecutionPolicy Bypass -File installers\install.ps1 [-From DIR-OR-WHEEL] [-NoSetup] [-Uninstall]
The same by environment variables: SEP_FROM, SEP_NO_SETUP=1, SEP_UNINSTALL=1.
#>
param(
    [string]$From = $env:SEP_FROM,
    [switch]$NoSetup,
    [switch]$Uninstall
)

function Say([string]$Text) { Write-Host "sep: $Text" }

function Get-DataFolder {
    if ($env:SEP_HOME) { return $env:SEP_HOME }
    return Join-Path $env:LOCALAPPDATA 'sep'
}

# Run a program; its failure is ours.
function Invoke-Checked([string]$Program, [string[]]$Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with code $LASTEXITCODE" }
}

# The launcher of python.org knows all Pythons; the store's stub answers with an error.
function Find-Python {
    $Check = 'import sys; sys.exit(sys.version_info < (3, 11))'
    foreach ($Candidate in @(@('py', '-3'), @('python'), @('python3'))) {
        $Program = Get-Command $Candidate[0] -ErrorAction SilentlyContinue
        if (-not $Program) { continue }
        $Rest = @($Candidate | Select-Object -Skip 1)
        & $Program.Source @Rest -c $Check 2>$null
        if ($LASTEXITCODE -eq 0) { return , @(@($Program.Source) + $Rest) }
    }
    throw 'Python 3.11 or newer was not found: winget install Python.Python.3.13'
}

function Install-Launcher([string]$Data, [string]$Source) {
    Say "installing the command from $Source"
    $Python = Find-Python
    $Folder = Join-Path $Data 'launcher'
    New-Item -ItemType Directory -Force -Path $Data | Out-Null
    $Rest = @($Python | Select-Object -Skip 1)
    Invoke-Checked $Python[0] ($Rest + @('-m', 'venv', '--clear', $Folder))
    $Own = Join-Path $Folder 'Scripts\python.exe'
    Invoke-Checked $Own @('-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-cache-dir', $Source)
    $Bin = Join-Path $Data 'bin'
    New-Item -ItemType Directory -Force -Path $Bin | Out-Null
    Set-Content -Encoding Ascii -Path (Join-Path $Bin 'sep.cmd') -Value "@`"$Own`" -I -m sep_launcher %*"
    return $Own
}

function Add-ToPath([string]$Folder) {
    $Path = [Environment]::GetEnvironmentVariable('Path', 'User')
    if (($Path -split ';') -contains $Folder) { return }
    [Environment]::SetEnvironmentVariable('Path', "$Path;$Folder".TrimStart(';'), 'User')
    Say "$Folder is on your PATH from the next window on"
}

function Remove-FromPath([string]$Folder) {
    $Path = [Environment]::GetEnvironmentVariable('Path', 'User')
    if (-not $Path) { return }
    $Kept = ($Path -split ';') | Where-Object { $_ -and $_ -ne $Folder }
    [Environment]::SetEnvironmentVariable('Path', ($Kept -join ';'), 'User')
}

function Uninstall-Sep([string]$Data) {
    $Own = Join-Path $Data 'launcher\Scripts\python.exe'
    if (Test-Path $Own) { Invoke-Checked $Own @('-P', '-m', 'sep_launcher', 'setup', '--remove', '--yes') }
    Remove-FromPath (Join-Path $Data 'bin')
    foreach ($Name in @('launcher', 'bin')) {
        $Folder = Join-Path $Data $Name
        if (Test-Path $Folder) { Remove-Item -Recurse -Force $Folder }
    }
    if ((Test-Path $Data) -and -not (Get-ChildItem -Recurse -File $Data)) { Remove-Item -Recurse -Force $Data }
    if (Test-Path $Data) { Say "kept: $Data (models that you fetched)" }
    Say 'removed'
}

function Main {
    $ErrorActionPreference = 'Stop'
    $Data = Get-DataFolder
    if ($Uninstall -or $env:SEP_UNINSTALL) { Uninstall-Sep $Data; return }
    $Root = if ($PSScriptRoot) { Split-Path $PSScriptRoot } else { (Get-Location).Path }
    $Source = if ($From) { $From } else { $Root }
    if (-not (Test-Path $Source)) { throw "there is no $Source" }
    $Own = Install-Launcher $Data $Source
    if (-not ($NoSetup -or $env:SEP_NO_SETUP)) {
        Invoke-Checked $Own @('-P', '-m', 'sep_launcher', 'setup', '--yes')
        $Example = Join-Path $Root 'examples\groove.flac'
        if (-not (Test-Path $Example)) {
            $Example = & $Own -P -c 'import sep_models; print(sep_models.golden_clip())'
        }
        Invoke-Checked $Own @('-P', '-m', 'sep_launcher', 'run', $Example, '--resume')
    }
    Add-ToPath (Join-Path $Data 'bin')
    Say 'ready: sep run song.wav (or: py -m sep_launcher, in an environment where you installed it yourself)'
}

Main

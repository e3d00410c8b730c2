using System.CommandLine;
using System.Runtime.InteropServices;
using Saturn.Kernels;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Diagnostics;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Training;
using Spectre.Console;

namespace Saturn.Cli;

/// <summary><c>saturn info</c>: the machine's devices, or a model's layers.</summary>
internal static class InfoCommand
{
    public static Command Create()
    {
        Command command = new("info", "Show the devices of this machine and the models that can be trained; with --model, a model's layers.");
        Option<string?> name = TrainCommand.Add<string?>(command, "--model", $"A model to describe: {string.Join(", ", ModelFactory.Names)}.", null);
        Option<int> width = TrainCommand.Add(command, "--width", "Channels of the model's first stage.", 64);
        Option<int> size = TrainCommand.Add(command, "--image-size", "Pixels of an image's edge.", 32);
        Option<int> channels = TrainCommand.Add(command, "--image-channels", "Channels of an image.", 3);
        Option<int> classes = TrainCommand.Add(command, "--classes", "Classes.", 10);
        Option<bool> environment = TrainCommand.Add(command, "--environment", "List the variables of the environment that Saturn reads, as the page docs/environment.md.", false);
        command.SetAction(result =>
        {
            if (result.GetValue(environment))
            {
                Console.Write(EnvironmentVariable.ToMarkdown());
                return 0;
            }

            if (result.GetValue(name) is { } model)
            {
                Describe(new ModelRecipe(
                    model, result.GetValue(width), result.GetValue(classes), result.GetValue(size), result.GetValue(size), result.GetValue(channels)));
                return 0;
            }

            Console.WriteLine($"Saturn {typeof(InfoCommand).Assembly.GetName().Version?.ToString(3)}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}");
            foreach (string line in Devices.Describe())
            {
                Console.WriteLine(line);
            }

            PrintCompiler();
            Console.WriteLine($"models: {string.Join(", ", ModelFactory.Names)}");
            string[] set = [.. EnvironmentVariable.All.Where(variable => variable.Value is not null).Select(variable => $"{variable.Name}={variable.Value}")];
            Console.WriteLine($"environment: {(set.Length == 0 ? "nothing set" : string.Join(' ', set))}; all variables: saturn info --environment");
            return 0;
        });
        return command;
    }

    private static void PrintCompiler()
    {
        try
        {
            using KernelCompiler compiler = KernelCompiler.Create();
            Console.WriteLine($"NVRTC {compiler.NvrtcVersion}: {compiler.NvrtcPath}");
        }
        catch (NvrtcNotFoundException exception)
        {
            Console.WriteLine(exception.Message);
        }

        try
        {
            Disassembler disassembler = Disassembler.Find();
            Console.WriteLine($"nvdisasm {disassembler.Version}: {disassembler.Path}");
        }
        catch (NvdisasmNotFoundException)
        {
            Console.WriteLine("nvdisasm, which prints machine code: not found (tools/install-nvrtc.sh --disassembler)");
        }
        catch (InvalidOperationException exception)
        {
            Console.WriteLine(exception.Message);
        }
    }

    private static void Describe(ModelRecipe recipe)
    {
        using Device device = Devices.Open("cpu");
        using Model model = ModelFactory.Create(recipe, device);
        model.Initialize(0);
        ChannelGraph graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        Accounting accounting = new(model, graph);
        Table table = new() { Border = TableBorder.Rounded };
        table.AddColumn("layer");
        foreach (string column in (string[])["weight shape", "weights", "MFLOP an image"])
        {
            table.AddColumn(new TableColumn(column).RightAligned());
        }

        foreach (LayerCost layer in graph.Layers)
        {
            table.AddRow(
                Markup.Escape(layer.Name), string.Join(" × ", layer.WeightShape), ProgressDisplay.Invariant($"{layer.Parameters:N0}"),
                ProgressDisplay.Invariant($"{layer.Flops / 1e6:F2}"));
        }

        AnsiConsole.Write(table);
        Console.WriteLine(ProgressDisplay.Invariant(
            $"{recipe.Name} width {recipe.Width}: {accounting.DenseParameters:N0} parameters, {accounting.TotalUnits:N0} units in {graph.Groups.Count} groups, {accounting.Flops / 1e9:F3} GFLOP an image"));
    }
}
